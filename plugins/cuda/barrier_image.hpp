// The compiled kernel of stream barriers, as it lies in the plugin.
#pragma once

namespace lockstep::cuda {

/// For cuModuleLoadData; nullptr: the plugin was built without nvcc.
extern const void* const kBarrierImage;

}  // namespace lockstep::cuda
