// Splitting a group: colours are shared, new leaders connect, blocks are claimed, all at once.
#include <algorithm>

#include <fmt/format.h>

#include "lockstep/lockstep.h"
#include "runtime/child_id.hpp"
#include "runtime/collect.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

/// A leader's card: the switches above it as text, a 0, its address.
std::string_view switches_on(std::span<const std::byte> card) {
  const auto end = std::find(card.begin(), card.end(), std::byte{0});
  return {reinterpret_cast<const char*>(card.data()), static_cast<std::size_t>(end - card.begin())};
}

std::span<const std::byte> address_on(std::span<const std::byte> card) {
  return card.subspan(std::min(switches_on(card).size() + 1, card.size()));
}

}  // namespace

class Session::Splitter {
 public:
  Splitter(Session& session, Group& parent, const Call& call, std::uint32_t colour)
      : session_(session), parent_(parent), call_(call), colour_(colour) {}

  Result<Group*> run() {
    if (Status status = share_colours(); !status.ok()) return status;
    if (any_is_wide_) {
      if (Status status = connect_leaders(); !status.ok()) return status;
    }
    if (Status status = claim_blocks(); !status.ok()) return status;
    std::unique_ptr<Group> group;
    Status made;
    if (is_member()) {
      Result<std::unique_ptr<Group>> result = Group::make(*session_.around_, id_, members_, *block_,
                                                          {.contacts = std::move(contacts_)});
      if (result.ok()) {
        group = std::move(*result);
      } else {
        made = result.status();
      }
    }
    // Nobody sends in the new group before every leader listens to it.
    if (Status status = agree(made); !status.ok()) return status;
    if (group == nullptr) return static_cast<Group*>(nullptr);
    std::lock_guard lock(session_.groups_mutex_);
    session_.groups_.push_back(std::move(group));
    return session_.groups_.back().get();
  }

 private:
  const bootstrap::Identity& who() const { return session_.identity(); }
  bool is_member() const { return colour_ != LOCKSTEP_NO_GROUP; }

  Status share_colours() {
    id_ = child_id(parent_.id(), parent_.next_split(), colour_);
    const Result<std::vector<std::uint32_t>> all = share_each(parent_, call_, colour_);
    if (!all.ok()) return all.status();
    const std::vector<std::uint32_t>& colours = all.value();
    for (Rank i = 0; i < parent_.size(); ++i) {
      const Rank rank = parent_.ranks()[i];
      if (is_member() && colours[i] == colour_) members_.push_back(rank);
      // Whether somebody's group spans nodes is a question that all members answer alike.
      for (Rank j = 0; j < i && !any_is_wide_ && colours[i] != LOCKSTEP_NO_GROUP; ++j) {
        any_is_wide_ =
            colours[j] == colours[i] && who().node_of[parent_.ranks()[j]] != who().node_of[rank];
      }
    }
    for (const Rank rank : members_) {
      if (who().node_of[rank] != who().node()) is_wide_ = true;
      if (who().node_of[rank] == who().node() && first_here_ == kNoRank) first_here_ = rank;
    }
    return {};
  }

  /// Leaders of groups on several nodes tell everybody the switches above them and their address;
  /// each connects to its own.
  Status connect_leaders() {
    std::vector<std::byte> address;
    Status opened;
    const bool leads = is_wide_ && first_here_ == who().rank;
    if (leads) {
      opened = session_.open_port();
      if (opened.ok() && session_.port_->has_frames()) {
        Result<std::vector<std::byte>> own = session_.port_->address();
        if (own.ok()) {
          address = std::move(*own);
        } else {
          opened = own.status();
        }
      }
    }
    if (Status status = agree(opened); !status.ok()) return status;
    // The text ends at its 0, which no name has in it.
    const std::string switches = topology::path_text(session_.own_switches_);
    std::vector<std::byte> card;
    if (leads) {
      const auto text = std::as_bytes(std::span(switches.c_str(), switches.size() + 1));
      card.assign(text.begin(), text.end());
      card.insert(card.end(), address.begin(), address.end());
    }
    Result<std::vector<std::vector<std::byte>>> all = gather_all(parent_, call_, card);
    if (!all.ok()) return all.status();
    // Those of this member's own group; who leads none has no card.
    std::vector<Rank> leaders;
    std::vector<std::span<const std::byte>> cards;
    for (Rank i = 0; is_wide_ && i < parent_.size(); ++i) {
      const Rank rank = parent_.ranks()[i];
      if ((*all)[i].empty() || !std::binary_search(members_.begin(), members_.end(), rank))
        continue;
      leaders.push_back(rank);
      cards.emplace_back((*all)[i]);
      const std::span<const std::byte> address_of_one = address_on(cards.back());
      contacts_.emplace_back(address_of_one.begin(), address_of_one.end());
    }
    if (!leads) return {};
    progress::Port& port = *session_.port_;
    // Threads of other groups read it: it is written once.
    if (session_.around_->port == nullptr) session_.around_->port = &port;
    std::lock_guard lock(port.mutex());
    port.set_session(session_.page_.head().session);
    for (std::size_t i = 0; i < leaders.size(); ++i) {
      session_.around_->switches[who().node_of[leaders[i]]] =
          topology::read_path(switches_on(cards[i])).value_or(topology::SwitchPath{});
      if (leaders[i] == who().rank || contacts_[i].empty()) continue;
      if (Status status = port.connect(leaders[i], contacts_[i]); !status.ok()) return status;
    }
    if (!port.has_thread()) port.start_thread();
    return {};
  }

  Status claim_blocks() {
    Status claimed;
    if (is_member() && first_here_ == who().rank) {
      const auto here = std::count_if(members_.begin(), members_.end(), [this](Rank rank) {
        return who().node_of[rank] == who().node();
      });
      block_ = session_.page_.claim_block(id_, static_cast<std::uint32_t>(here));
      if (!block_) {
        claimed = {LOCKSTEP_E_LIMIT,
                   fmt::format("{}: {} has no room for another group ({} at a time); free groups "
                               "that are done",
                               call_.text(), who().hosts[who().node()], node::kBlocksMax - 2)};
      }
    }
    if (Status status = agree(claimed); !status.ok()) {
      if (block_) session_.page_.block(*block_).head->group.store(0);
      return status;
    }
    if (is_member() && !block_) block_ = session_.page_.find_block(id_);
    return {};
  }

  /// One round in which everybody learns whether everybody is well.
  Status agree(const Status& mine) {
    node::Words result;
    const std::uint64_t code = mine.ok() ? 0 : std::uint64_t{1} << -mine.code() % 64;
    if (Status status = parent_.round(call_, {code, {}}, &result); !status.ok()) return status;
    if (!mine.ok()) return mine;
    if (result.word == 0) return {};
    const bool is_limit = (result.word >> -LOCKSTEP_E_LIMIT & 1) != 0;
    return {is_limit ? LOCKSTEP_E_LIMIT : LOCKSTEP_E_TRANSPORT,
            fmt::format("{}: another member could not {}; see its message", call_.text(),
                        is_limit ? "get room for the group" : "connect")};
  }

  Session& session_;
  Group& parent_;
  const Call& call_;
  std::uint32_t colour_;
  GroupId id_ = 0;
  std::vector<Rank> members_;            ///< job ranks of this member's new group
  std::vector<node::Address> contacts_;  ///< of its leaders
  bool is_wide_ = false;
  bool any_is_wide_ = false;
  Rank first_here_ = kNoRank;
  std::optional<std::uint32_t> block_;
};

Result<Group*> Session::split(Group& parent, std::uint32_t colour, const Call& call) {
  return Splitter(*this, parent, call, colour).run();
}

}  // namespace lockstep
