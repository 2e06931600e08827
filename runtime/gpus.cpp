// The rounds of GPU groups: what each has, what each says about its node's, and the verdict.
#include "runtime/gpus.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/collect.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep {
namespace {

/// A seat as it travels.
struct Card {
  gpu::Uuid uuid;
  gpu::Uuid cluster;
  std::uint32_t clique;
  std::uint8_t has_gpu;
  std::uint8_t is_mistake;
  std::uint16_t is_instance;
};
static_assert(sizeof(Card) == 40);

}  // namespace

const Gpus::Own& Gpus::own() {
  std::lock_guard lock(mutex_);
  if (!own_) own_ = find_own();
  return *own_;
}

Status Gpus::start_driver() {
  if (started_) return *started_;
  if (gpu::is_none(config_.gpu)) {
    started_ = Status(LOCKSTEP_E_UNSUPPORTED, "LOCKSTEP_GPU=none");
    return *started_;
  }
  Result<std::unique_ptr<gpu::Driver>> driver =
      gpu::Driver::open(config_, {place_.rank, place_.ranks});
  started_ = driver.ok() ? Status() : driver.status();
  if (driver.ok()) driver_ = std::move(*driver);
  return *started_;
}

Result<std::uint64_t> Gpus::drain_start(std::span<void* const> streams) {
  std::lock_guard lock(mutex_);
  if (Status status = start_driver(); !status.ok()) return status;
  return driver_->drain_start(streams);
}

Status Gpus::drain_test(std::uint64_t ticket) {
  std::lock_guard lock(mutex_);
  return driver_->drain_test(ticket);
}

void Gpus::drain_drop(std::uint64_t ticket) {
  std::lock_guard lock(mutex_);
  driver_->drain_drop(ticket);
}

Result<std::unique_ptr<gpu::Barrier>> Gpus::open_barrier(
    const lockstep_gpu_barrier_setup_t& setup) {
  const Own& mine = own();
  if (!mine.choice) return Status(LOCKSTEP_E_UNSUPPORTED, mine.why);
  std::lock_guard lock(mutex_);
  return driver_->open_barrier(mine.choice->ordinal, setup);
}

Status Gpus::connect(gpu::Barrier& barrier, std::uint32_t member, const UniqueFd& memory) {
  std::lock_guard lock(mutex_);
  return barrier.connect(member, memory);
}

Result<gpu::Barrier::Last> Gpus::ask(gpu::Barrier& barrier) {
  std::lock_guard lock(mutex_);
  return barrier.ask();
}

Status Gpus::enqueue(gpu::Barrier& barrier, void* stream, Nanos limit, bool reports,
                     bool& is_captured) {
  // A driver whose queue is full holds the caller, and nobody else for that.
  const std::uint64_t limit_ns = limit == kNever ? 0 : static_cast<std::uint64_t>(limit);
  return barrier.enqueue(stream, limit_ns, reports, is_captured);
}

void Gpus::close(std::unique_ptr<gpu::Barrier>& barrier, const std::function<void()>& between) {
  // What its GPU still waits for may need another thread of this process to enqueue.
  barrier->drain();
  between();
  std::lock_guard lock(mutex_);
  barrier.reset();
}

Gpus::Own Gpus::find_own() {
  Own own;
  if (const Status status = start_driver(); !status.ok()) {
    own.why = status.text();
    return own;
  }
  const std::vector<gpu::Device>& devices = driver_->devices();
  const Result<gpu::Choice> choice =
      gpu::choose({config_.gpu, devices, driver_->current(), place_.local_rank});
  if (!choice.ok()) {
    own.why = choice.status().text();
    own.is_mistake = true;
    return own;
  }
  own.choice = choice.value();
  own.device = devices[own.choice->ordinal];
  return own;
}

gpu::Answers Gpus::answers_about(const std::vector<gpu::Seat>& seats, Rank member) {
  std::lock_guard lock(mutex_);
  const gpu::Seat& mine = seats[member];
  gpu::Answers answers;
  for (const Rank other : gpu::first_on_each(seats, mine.node)) {
    const gpu::Seat& seat = seats[other];
    // Of instances it is known without asking, and one's own is not a question.
    const bool is_asked = seat.uuid != mine.uuid && !seat.is_instance && !mine.is_instance;
    answers.push_back(is_asked ? driver_->reaches(mine.uuid, seat.uuid) : LOCKSTEP_GPU_APART);
  }
  return answers;
}

Result<Gpus::Survey> Gpus::survey(Group& group, const Call& call) {
  const Own& mine = own();
  const gpu::Device& device = mine.device;
  const Card card{device.uuid,
                  device.fabric.cluster,
                  device.fabric.clique,
                  static_cast<std::uint8_t>(mine.choice ? 1 : 0),
                  static_cast<std::uint8_t>(mine.is_mistake ? 1 : 0),
                  static_cast<std::uint16_t>(device.is_instance ? 1 : 0)};
  const Result<std::vector<Card>> cards = share_each(group, patient(call), card);
  if (!cards.ok()) return cards.status();
  Survey survey;
  for (Rank member = 0; member < group.size(); ++member) {
    const Card& one = cards.value()[member];
    survey.has_gpu.push_back(one.has_gpu != 0);
    survey.has_mistake = survey.has_mistake || one.is_mistake != 0;
    const NodeIndex node = group.around().identity.node_of[group.ranks()[member]];
    survey.seats.push_back({one.uuid, {one.cluster, one.clique}, node, one.is_instance != 0});
  }
  const auto& has = survey.has_gpu;
  if (!std::all_of(has.begin(), has.end(), [](bool one) { return one; })) {
    survey.seats.clear();
    return survey;
  }
  const gpu::Layout layout = gpu::layout_of(survey.seats);
  const std::vector<std::byte> said = gpu::pack(answers_about(survey.seats, group.rank()));
  const Result<std::vector<std::byte>> all =
      share(group, patient(call), layout.total, layout.places[group.rank()].offset, said);
  if (!all.ok()) return all.status();
  survey.groups = gpu::group(survey.seats, gpu::unpack(survey.seats, layout, all.value()));
  tell_doubt(group, survey);
  return survey;
}

Result<Gpus::Survey> Gpus::survey_all(Group& group, const Call& call) {
  const Own& mine = own();
  const Status mistake = mine.is_mistake ? Status(LOCKSTEP_E_INVALID, mine.why) : Status();
  if (Status status = agree(group, call, mistake); !status.ok()) return status;
  Result<Survey> found = survey(group, call);
  if (!found.ok() || !found->seats.empty()) return found;

  std::vector<Rank> lacking;
  for (Rank member = 0; member < group.size(); ++member) {
    if (!found->has_gpu[member]) lacking.push_back(member);
  }
  // The lowest says why; the others' reasons are mostly the same.
  const Result<std::vector<std::byte>> bytes =
      broadcast(group, patient(call), lacking.front(), std::as_bytes(std::span(mine.why)));
  if (!bytes.ok()) return bytes.status();
  const std::string why(reinterpret_cast<const char*>(bytes.value().data()), bytes.value().size());
  return Status(
      LOCKSTEP_E_UNSUPPORTED,
      fmt::format("{}: it needs a GPU on every rank; there is none for {}; {}: {}", call.text(),
                  member_names(group, lacking), member_name(group, lacking.front()), why));
}

/// Once, on the lowest of each node's.
void Gpus::tell_doubt(Group& group, const Survey& survey) {
  std::vector<Rank> here;
  for (const Rank member : survey.groups.doubtful) {
    if (survey.seats[member].node == survey.seats[group.rank()].node) here.push_back(member);
  }
  std::lock_guard lock(mutex_);
  if (here.empty() || has_told_doubt_) return;
  has_told_doubt_ = true;
  if (here.front() != group.rank()) return;
  log::warn(
      "whether the GPUs of {} reach each other cannot be told, so that they count as apart: they "
      "are hidden from each other by a device cgroup (--gpus-per-task, --gpu-bind) or a "
      "container, which breaks CUDA IPC, too; type: srun --gpus-per-node=N --gpu-bind=none, and "
      "let each rank take its own by LOCKSTEP_GPU or cudaSetDevice(local rank)",
      member_names(group, here));
}

}  // namespace lockstep
