// Sums a vector over all GPUs of this machine with NCCL, and compares every element.
//
//   nvcc -arch=sm_90 -I/usr/local/nccl/include -L/usr/local/nccl/lib -o nccl_program nccl_program.cu -lnccl
//
// Prints "nccl VERSION devices N", and after a right sum " sum right".
// Exit status: 0 right, 1 wrong or failed, 77 nothing to run on.

#include <cuda_runtime.h>
#include <nccl.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

constexpr size_t kElements = 1 << 20;
constexpr int kNothingToRunOn = 77;

__global__ void fill(float *values, size_t count, float value) {
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        values[i] = value;
}

static void require(cudaError_t status, const char *what) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
    std::exit(1);
}

static void require(ncclResult_t status, const char *what) {
    if (status == ncclSuccess) return;
    std::fprintf(stderr, "%s: %s\n", what, ncclGetErrorString(status));
    std::exit(1);
}

// One process with a communicator for each device; device i contributes i + 1.
static bool sums_rightly(int devices) {
    std::vector<ncclComm_t> communicators(devices);
    std::vector<cudaStream_t> streams(devices);
    std::vector<float *> buffers(devices);
    require(ncclCommInitAll(communicators.data(), devices, nullptr), "ncclCommInitAll");
    for (int i = 0; i < devices; ++i) {
        require(cudaSetDevice(i), "cudaSetDevice");
        require(cudaStreamCreate(&streams[i]), "cudaStreamCreate");
        require(cudaMalloc(&buffers[i], kElements * sizeof(float)), "cudaMalloc");
        fill<<<128, 256, 0, streams[i]>>>(buffers[i], kElements, i + 1.0f);
        require(cudaGetLastError(), "fill");
    }
    require(ncclGroupStart(), "ncclGroupStart");
    for (int i = 0; i < devices; ++i)
        require(ncclAllReduce(buffers[i], buffers[i], kElements, ncclFloat, ncclSum,
                              communicators[i], streams[i]), "ncclAllReduce");
    require(ncclGroupEnd(), "ncclGroupEnd");

    const float wanted = devices * (devices + 1) / 2.0f;
    std::vector<float> summed(kElements);
    bool right = true;
    for (int i = 0; i < devices; ++i) {
        require(cudaSetDevice(i), "cudaSetDevice");
        require(cudaStreamSynchronize(streams[i]), "cudaStreamSynchronize");
        require(cudaMemcpy(summed.data(), buffers[i], kElements * sizeof(float),
                           cudaMemcpyDeviceToHost), "cudaMemcpy");
        for (float value : summed) right = right && value == wanted;
        require(cudaFree(buffers[i]), "cudaFree");
        require(ncclCommDestroy(communicators[i]), "ncclCommDestroy");
    }
    return right;
}

int main() {
    int version = 0, devices = 0;
    require(ncclGetVersion(&version), "ncclGetVersion");
    // Without a driver this is an error, and there are no devices either.
    if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
    std::printf("nccl %d.%d.%d devices %d", version / 10000, version / 100 % 100, version % 100,
                devices);
    if (devices == 0) {
        std::printf("\n");
        return kNothingToRunOn;
    }
    const bool right = sums_rightly(devices);
    std::printf(" sum %s\n", right ? "right" : "WRONG");
    return right ? 0 : 1;
}
