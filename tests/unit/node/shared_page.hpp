// A page in anonymous shared memory, for tests of what lives in it.
#pragma once

#include <sys/mman.h>

#include <memory>
#include <vector>

#include "runtime/node/local_group.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

inline void* shared_memory(std::size_t size) {
  return mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

inline Page make_page(std::uint32_t members, std::uint32_t domains) {
  return Page::create(shared_memory(Page::size_for(members, domains, 0)), members, domains, 0, 77);
}

/// One group that fills a page: every member's own view of the same block.
class TestGroup {
 public:
  explicit TestGroup(const std::vector<std::uint32_t>& domain_of)
      : page_(make_page(static_cast<std::uint32_t>(domain_of.size()), domains_in(domain_of))),
        block_(page_.block(*page_.claim_block(5, static_cast<std::uint32_t>(domain_of.size())))) {
    for (std::uint32_t self = 0; self < domain_of.size(); ++self) {
      members_.push_back(std::make_unique<LocalGroup>(block_, self, domain_of));
    }
  }

  LocalGroup& operator[](std::uint32_t member) { return *members_[member]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(members_.size()); }
  Block& block() { return block_; }

 private:
  static std::uint32_t domains_in(const std::vector<std::uint32_t>& domain_of) {
    std::uint32_t domains = 0;
    for (const std::uint32_t domain : domain_of) domains = std::max(domains, domain + 1);
    return domains;
  }

  Page page_;
  Block block_;
  std::vector<std::unique_ptr<LocalGroup>> members_;
};

/// `members` dealt out to `domains` in turn, numbered in order of first appearance.
inline std::vector<std::uint32_t> dealt(std::uint32_t members, std::uint32_t domains) {
  std::vector<std::uint32_t> domain_of;
  for (std::uint32_t member = 0; member < members; ++member) domain_of.push_back(member % domains);
  return domain_of;
}

}  // namespace lockstep::node
