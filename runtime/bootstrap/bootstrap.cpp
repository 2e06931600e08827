// The choice between PMIx and a job of one.
#include "runtime/bootstrap/bootstrap.hpp"

namespace lockstep::bootstrap {
namespace {

/// A job of one process: nothing to publish, nobody to meet.
class Single final : public Bootstrap {
 public:
  explicit Single(Identity identity) { identity_ = std::move(identity); }
  Status publish(std::span<const std::byte> blob) override {
    blob_.assign(blob.begin(), blob.end());
    return {};
  }
  Status fence() override { return {}; }
  Result<std::vector<std::byte>> lookup(Rank) override { return blob_; }
  void finish() override {}
  bool is_attached() const noexcept override { return false; }

 private:
  std::vector<std::byte> blob_;
};

}  // namespace

Result<std::unique_ptr<Bootstrap>> open_bootstrap(const Config& config,
                                                  const Environment& environment) {
  const bool wants_pmix =
      config.bootstrap == "pmix" || (config.bootstrap == "auto" && has_pmix(environment));
  if (wants_pmix) {
    if (!has_pmix(environment)) {
      return Status(LOCKSTEP_E_BOOTSTRAP,
                    "LOCKSTEP_BOOTSTRAP=pmix, but no PMIx server started this process; type: srun "
                    "--mpi=pmix PROGRAM, or: lockstep run -n N PROGRAM");
    }
    Result<std::unique_ptr<Bootstrap>> opened = open_pmix(config);
    if (!opened.ok()) return opened;
    if (Status status = check_claims((*opened)->identity(), environment); !status.ok())
      return status;
    return opened;
  }
  Result<Identity> identity = config.bootstrap == "single" ? resolve_without_pmix(Environment{})
                                                           : resolve_without_pmix(environment);
  if (!identity.ok()) return identity.status();
  return std::unique_ptr<Bootstrap>(std::make_unique<Single>(std::move(*identity)));
}

}  // namespace lockstep::bootstrap
