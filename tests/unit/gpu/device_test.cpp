// UUIDs as text: what nvidia-smi shows is understood, and nothing else.
#include "runtime/gpu/device.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lockstep::gpu {
namespace {

constexpr const char* kText = "GPU-01234567-89ab-cdef-0123-456789abcdef";
constexpr Uuid kUuid = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

TEST(Uuids, TextIsThatOfTheVendorsTools) {
  EXPECT_EQ(uuid_text(kUuid, false), kText);
  EXPECT_EQ(uuid_text(kUuid, true), "MIG-01234567-89ab-cdef-0123-456789abcdef");
}

TEST(Uuids, EveryOneSurvivesTheWayToTextAndBack) {
  std::mt19937 random(6);
  for (int i = 0; i < 1'000; ++i) {
    Uuid uuid;
    for (std::uint8_t& byte : uuid) byte = static_cast<std::uint8_t>(random());
    const auto read = parse_uuid(uuid_text(uuid, i % 2 != 0));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->uuid, uuid);
    EXPECT_EQ(read->is_instance, i % 2 != 0);
  }
  EXPECT_EQ(parse_uuid("GPU-01234567-89AB-CDEF-0123-456789ABCDEF")->uuid, kUuid);
}

TEST(Uuids, AnythingElseIsNone) {
  for (const char* text :
       {"", "GPU-", "MIG", "0", "01234567-89ab-cdef-0123-456789abcdef",
        "gpu-01234567-89ab-cdef-0123-456789abcdef", "GPU-01234567-89ab-cdef-0123-456789abcde",
        "GPU-01234567-89ab-cdef-0123-456789abcdef0", "GPU-0123456789abcdef0123456789abcdef",
        "GPU-01234567-89ab-cdef-0123-456789abcdeg", "GPU-01234567--89abcdef-0123-456789abcdef",
        "GPU-01234567-89ab-cdef-0123-456789abcdef ",
        "MIG-GPU-01234567-89ab-cdef-0123-456789abcdef/1/0"}) {
    EXPECT_FALSE(parse_uuid(text)) << text;
  }
  // Whatever is cut off, what is left is none.
  for (std::size_t length = 0; length < std::string_view(kText).size(); ++length) {
    EXPECT_FALSE(parse_uuid(std::string_view(kText).substr(0, length)));
  }
}

}  // namespace
}  // namespace lockstep::gpu
