// `lockstep info`: versions, what was found and chosen and why not, every setting.
#include "api/cli/commands.hpp"

#include <fmt/format.h>
#include <lockstep/lockstep.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "api/cli/command_error.hpp"

namespace lockstep::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Wraps help text at word ends, with a hanging indent.
std::string wrap(const std::string& text, std::size_t indent, std::size_t width) {
  std::string wrapped;
  std::size_t column = indent;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::size_t length = end - at;
    if (column > indent && column + 1 + length > width) {
      wrapped += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      wrapped += ' ';
      ++column;
    }
    wrapped += text.substr(at, length);
    column += length;
    at = end + 1;
  }
  return wrapped;
}

constexpr std::size_t kWidth = 100;
constexpr double kGibibyte = 1024.0 * 1024 * 1024;

void print_capabilities(const Json& capabilities) {
  constexpr std::size_t kWhyAt = 30;
  fmt::print("\nCapabilities, of a process that is started as this one\n");
  for (const Json& one : capabilities) {
    fmt::print("   {:<15} {:<10} {}\n", one["name"].get<std::string>(),
               one["state"].get<std::string>(),
               wrap(one["why"].get<std::string>(), kWhyAt, kWidth));
    const std::string advice = one["type"].get<std::string>();
    if (!advice.empty()) {
      fmt::print("{:{}}{}\n", "", kWhyAt, wrap("type: " + advice, kWhyAt, kWidth));
    }
  }
}

void print_gpus(const Json& gpus) {
  fmt::print("\nGPUs, told by the plugin {}\n", gpus["plugin"].get<std::string>());
  if (!gpus["present"].get<bool>()) {
    fmt::print("   absent: {}\n", wrap(gpus["why"].get<std::string>(), 5, kWidth));
    return;
  }
  fmt::print("   {}; {}\n", gpus["description"].get<std::string>(),
             gpus["driver"].get<std::string>());
  const Json& choice = gpus["choice"];
  const bool is_fixed = choice.contains("ordinal");
  for (const Json& one : gpus["devices"]) {
    const auto ordinal = one["ordinal"].get<unsigned>();
    const bool is_own = is_fixed && choice["ordinal"].get<unsigned>() == ordinal;
    fmt::print("{} {}  {}  {}  {:.0f} GiB  {}\n", is_own ? " *" : "  ", ordinal,
               one["uuid"].get<std::string>(), one["name"].get<std::string>(),
               one["memory"].get<double>() / kGibibyte, one["address"].get<std::string>());
    if (one.contains("fabric")) fmt::print("     fabric {}\n", one["fabric"].get<std::string>());
  }
  if (choice.contains("none")) {
    fmt::print("   this process would use none: {}\n",
               wrap(choice["none"].get<std::string>(), 5, kWidth));
  } else {
    fmt::print("   this process would use {}: {}\n",
               is_fixed ? std::to_string(choice["ordinal"].get<unsigned>()) : "one",
               choice["rule"].get<std::string>());
  }
}

void print_text(const Json& info) {
  fmt::print("lockstep {}\n\n", info["lockstep"].get<std::string>());
  for (const auto& [name, version] : info["libraries"].items()) {
    fmt::print("  {:<10} {}\n", name, version.get<std::string>());
  }
  fmt::print("  {:<10} {}\n", "identity", info["identity"].get<std::string>());
  fmt::print("  {:<10} {}\n", "security", info["security"].get<std::string>());
  if (info.contains("error")) fmt::print("\nerror: {}\n", info["error"].get<std::string>());
  for (const Json& warning : info["warnings"])
    fmt::print("\nwarning: {}\n", warning.get<std::string>());
  if (info.contains("capabilities")) print_capabilities(info["capabilities"]);
  if (info.contains("plugins")) {
    fmt::print("\nTransports between nodes\n");
    for (const Json& plugin : info["plugins"]) {
      fmt::print("{} {:<10} {}\n", plugin["chosen"].get<bool>() ? " *" : "  ",
                 plugin["name"].get<std::string>(), plugin["version"].get<std::string>());
      fmt::print("     {}\n", wrap(plugin["verdict"].get<std::string>(), 5, kWidth));
    }
  }
  if (info.contains("gpus")) print_gpus(info["gpus"]);
  fmt::print("\nSettings (environment variables; * is set)\n");
  for (const Json& row : info["settings"]) {
    fmt::print("{} {}={}\n", row["set"].get<bool>() ? " *" : "  ", row["name"].get<std::string>(),
               row["value"].get<std::string>());
    fmt::print("     {}\n", wrap(row["help"].get<std::string>(), 5, kWidth));
    const std::string fallback = row["default"].get<std::string>();
    fmt::print("     {}\n",
               wrap(fmt::format("form: {}; default: {}", row["form"].get<std::string>(),
                                fallback.empty() ? "empty" : fallback),
                    5, kWidth));
  }
}

}  // namespace

void add_info_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command = app.add_subcommand(
      "info", "Show versions, transports (and why not), GPUs, and every setting with its value");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print JSON");
  command->callback([json, &context] {
    char* text = nullptr;
    if (lockstep_info_json(&text) != LOCKSTEP_OK) throw CommandError(1, lockstep_last_error());
    const std::unique_ptr<char, void (*)(void*)> owner(text, lockstep_free);
    if (*json) {
      fmt::print("{}\n", text);
    } else {
      print_text(Json::parse(text));
    }
    context.exit_code = 0;
  });
}

}  // namespace lockstep::cli
