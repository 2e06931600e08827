// All of "deferring execution" as one program: many ranks learn one n-gram model of a text. The
// main process prepares the data while the others wait, one on each file system copies it to its
// own, all count their share and stop at the same step when one has seen enough, wait for
// everyone, and load the one model that main has saved. run() tells it in order; above it are its
// chapters.
#include "lockstep/lockstep.hpp"

#include "checkpoint.hpp"
#include "dataset.hpp"
#include "files.hpp"
#include "model.hpp"
#include "options.hpp"
#include "report.hpp"
#include "together.hpp"
#include "training.hpp"

#include <unistd.h>

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <vector>

namespace ngram {
namespace {

namespace fs = std::filesystem;
using lockstep::Requeue;
using lockstep::Scope;
using lockstep::Session;

/// Names that main has chosen and everybody knows. They are those of this run only, so that runs
/// and users do not mix.
struct Places {
  std::unique_ptr<TemporaryFolder> owner;  ///< on main: removes the folder at the end
  fs::path folder;                         ///< shared by all nodes
  fs::path dataset;
};

/// The same on each file system.
struct NodeCopy {
  std::unique_ptr<TemporaryFolder> owner;  ///< on the one that has made it
  std::unique_ptr<const Dataset> data;
  std::uint32_t copies = 0;  ///< in the whole job
};

/// Main chooses; broadcast tells the others, who need not even see the data file.
Places choose_places(Session& session, const Options& options) {
  Places places;
  together(session, "choose the folders", [&] {
    session.on_main_process([&] {
      check_can_save(options.output);
      if (!options.checkpoint.empty()) check_can_save(options.checkpoint);
      const std::string name = dataset_name(options.data, options.seed);
      const fs::path cache = fs::absolute(options.cache);
      places.owner = std::make_unique<TemporaryFolder>(cache, "run-");
      places.folder = places.owner->path();
      places.dataset = (options.keep_cache ? cache : places.folder) / name;
    });
  });
  places.folder = session.job().broadcast(places.folder.string());
  places.dataset = session.job().broadcast(places.dataset.string());
  return places;
}

/// "Downloading a dataset": all do the same, but main goes first, and the others find it done.
bool prepare(Session& session, const Options& options, const Places& places) {
  if (fs::exists(places.dataset)) {
    if (session.is_main_process()) check_dataset(places.dataset);
    return false;
  }
  if (!session.is_main_process()) {
    throw std::runtime_error(fmt::format(
        "{} cannot be seen from here; --cache must be on a file system that all nodes share",
        places.dataset.string()));
  }
  // In two moves: a kept data set has a name that other runs use too.
  const fs::path fresh = places.folder / "fresh";
  session.save(fresh, [&](std::ostream& file) { file << prepare_dataset(options); });
  fs::rename(fresh, places.dataset);
  return true;
}

/// "Applying an operation on multiple workers": one on each file system makes the copy there, be it
/// each node's own disk or one that nodes share, and all map what is theirs.
NodeCopy open_node_copy(Session& session, const Options& options, const Places& places) {
  together(session, "make the node caches", [&] { make_folder(options.node_cache); });
  NodeCopy node;
  together(session, "fill the node caches", [&] {
    const Scope disk = Scope::file_system(options.node_cache);
    lockstep::Group sharers = session.group_of(disk);
    node.copies = session.count_of(disk);
    const std::string name =
        fmt::format("{}-rank{}", places.folder.filename().string(), sharers.member(0));
    const fs::path copy = options.node_cache / ("lockstep-ngram-" + name) / "dataset";
    sharers.first([&] {
      if (sharers.rank() == 0) {
        node.owner = std::make_unique<TemporaryFolder>(options.node_cache, "lockstep-ngram-", name);
        write_atomically(copy, Dataset(places.dataset).file_bytes());
      }
      node.data = std::make_unique<const Dataset>(copy);
    });
  });
  return node;
}

/// "Saving" and "loading in the state_dict": every rank hands its counts in, main adds them up and
/// saves the model, and then everybody loads it.
Model save_and_load(Session& session, const Options& options, const Places& places,
                    const Model& mine) {
  const auto part_of = [&](std::uint32_t rank) {
    return places.folder / fmt::format("part-{:05}", rank);
  };
  together(session, "hand the counts in",
           [&] { write_atomically(part_of(session.rank()), mine.bytes()); });

  Model model(options.order);
  together(session, "save and load the model", [&] {
    session.main_process_first([&] {
      session.on_main_process([&] {
        Model sum(options.order);
        for (std::uint32_t rank = 0; rank < session.size(); ++rank) {
          sum.merge(Model::load(part_of(rank)));
        }
        session.save(options.output, [&](std::ostream& file) { file << sum.bytes(); });
      });
      model = Model::load(options.output);
    });
  });
  return model;
}

/// Returns the hash that all ranks have found.
std::uint64_t compare(Session& session, const Model& model) {
  const std::uint64_t hash = fnv1a(model.bytes());
  const std::uint64_t hash_of_main = session.job().broadcast_value(hash);
  together(session, "compare the models", [&] {
    if (hash == hash_of_main) return;
    throw std::runtime_error(
        fmt::format("the model loaded here has the hash {:016x}, that of rank 0 has {:016x}", hash,
                    hash_of_main));
  });
  return hash;
}

/// Somebody from outside wants the nodes back, and there is more to do, and a way to go on later.
bool is_interrupted(const Options& options, const Training& training,
                    const std::vector<std::uint32_t>& askers) {
  return training.has_stopped && askers.empty() && training.steps < options.steps &&
         !options.checkpoint.empty();
}

void run(Session& session, const Options& options) {
  Report report(session, options);
  report.greeting();

  // One goes first: in the job, then on each file system.
  const Places places = choose_places(session, options);
  together(session, "prepare the data set", [&] {
    session.main_process_first(
        [&] { report.dataset(places.dataset, prepare(session, options, places)); });
  });
  const NodeCopy node = open_node_copy(session, options, places);
  report.node_caches(*node.data, node.copies);

  // Act together on a trigger: all stop at the same step.
  Training training = resume(session, options, *node.data);
  report.start_of_steps(training);
  train(session, options, *node.data, training,
        [&](const Training& so_far) { report.progress(so_far); });

  // Wait for everyone: nobody saves before the last one has done its steps.
  session.wait_for_everyone({.name = "all have counted"});
  const auto askers = find_askers(session, training.has_asked);
  report.end_of_steps(training, askers);
  report.rank_table(training, askers);
  if (is_interrupted(options, training, askers)) {
    save_checkpoint(session, options, *node.data, training, places.folder);
    report.interruption(session.requeue(Requeue::wanted, session.last_trigger().text));
    return;
  }

  const Model model = save_and_load(session, options, places, training.model);
  const std::uint64_t hash = compare(session, model);
  session.on_main_process(
      [&] { report.result(model, hash, perplexity(model, node.data->all_held_out())); });
  session.on_main_process([&] {
    std::error_code
        ignored;  // The next run begins anew, or finds that there is nothing left to do.
    fs::remove(options.checkpoint, ignored);
  });
}

}  // namespace
}  // namespace ngram

int main(int argc, char** argv) {
  try {
    lockstep::Session session;
    return ngram::told_once(session, [&] {
      ngram::CommandLine line;
      ngram::together(session, "read the command line", [&] { line = ngram::parse(argc, argv); });
      if (line.help.empty()) {
        ngram::run(session, line.options);
      } else {
        session.print(line.help, lockstep::Scope::job);
      }
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ngram: %s\n", error.what());  // There is no session to say more.
    return 1;
  }
}
