// A device of its own, on which operations are computed by the CPU.
//
// Its tensors lie in ordinary memory, so that every operation is handed to the CPU on an alias.
// As on a GPU, a tensor of another device is refused, and copies and numbers that Python reads are
// events of their own, which are counted.

#include <ATen/EmptyTensor.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>

#include <cstring>
#include <map>
#include <string>

namespace {

using at::IntArrayRef;
using at::Tensor;
using Ints = c10::IntArrayRef;
using MaybeTensor = std::optional<Tensor>;

constexpr auto TYPE = c10::DeviceType::PrivateUse1;
const c10::Device DEVICE(TYPE, 0);
const c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);

std::map<std::string, long> events;
thread_local int inside = 0;  // an operation, whose own copies are not events

struct Inside {
  Inside() { ++inside; }
  ~Inside() { --inside; }
};

void happened(const std::string& event) {
  if (!inside) ++events[event];
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = TYPE;
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return TYPE; }
  c10::Device exchangeDevice(c10::Device) const override { return DEVICE; }
  c10::Device getDevice() const override { return DEVICE; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override {
    return c10::Stream(c10::Stream::DEFAULT, DEVICE);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream) const override { return getStream(DEVICE); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag)
      const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* start = std::malloc(bytes ? bytes : 1);
    return {start, start, &std::free, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};
Memory memory;
REGISTER_ALLOCATOR(TYPE, &memory);

bool is_here(const Tensor& tensor) { return tensor.device().type() == TYPE; }

// The same memory as a tensor of the CPU; an empty one may be made larger, so it has its own.
Tensor on_cpu(const Tensor& tensor) {
  if (!tensor.defined() || !is_here(tensor)) return tensor;
  auto options = at::TensorOptions().dtype(tensor.dtype()).device(at::kCPU);
  if (!tensor.numel()) return at::empty(tensor.sizes(), options);
  return at::from_blob(
      tensor.data_ptr(), tensor.sizes(), tensor.strides(), [tensor](void*) {}, options);
}

Tensor moved_here(const Tensor& tensor) {
  return tensor.defined() && !is_here(tensor) ? tensor.to(DEVICE) : tensor;
}

Tensor empty(
    IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
    std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, KEYS, c10::dtype_or_default(type), format);
}

Tensor empty_strided(
    IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> type,
    std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  auto dtype = c10::dtype_or_default(type);
  return at::detail::empty_strided_generic(size, stride, &memory, KEYS, dtype);
}

const Tensor& resize(
    const Tensor& self, at::SymIntArrayRef size, std::optional<at::MemoryFormat>) {
  auto* impl = self.unsafeGetTensorImpl();
  at::native::resize_impl_cpu_(impl, C10_AS_INTARRAYREF_SLOW(size), std::nullopt, true);
  return self;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool) {
  if (!is_here(self)) happened("to the device");
  if (!is_here(to)) happened("from the device");
  at::AutoDispatchBelowADInplaceOrView guard;
  on_cpu(to).copy_(on_cpu(self));
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  at::AutoDispatchBelowADInplaceOrView guard;
  if (to.sizes() != self.sizes()) to.resize_(self.sizes());
  return copy_from(self, to, false);
}

at::Scalar read(const Tensor& self) {
  happened("read by Python");
  return on_cpu(self).item();
}

Tensor convolution(
    const Tensor& input, const Tensor& weight, const MaybeTensor& bias, Ints stride, Ints padding,
    Ints dilation, bool transposed, Ints output_padding, int64_t groups) {
  Inside operation;
  MaybeTensor own = bias && bias->defined() ? MaybeTensor(on_cpu(*bias)) : std::nullopt;
  return moved_here(at::convolution(
      on_cpu(input), on_cpu(weight), own, stride, padding, dilation, transposed, output_padding,
      groups));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& gradient, const Tensor& input, const Tensor& weight, Ints stride, Ints padding,
    Ints dilation, bool transposed, Ints output_padding, int64_t groups,
    std::array<bool, 3> wanted) {
  Inside operation;
  std::vector<int64_t> biases{gradient.size(1)};
  auto sizes = wanted[2] ? at::OptionalIntArrayRef(biases) : std::nullopt;
  auto [inputs, weights, bias] = at::convolution_backward(
      on_cpu(gradient), on_cpu(input), on_cpu(weight), sizes, stride, padding, dilation, transposed,
      output_padding, groups, wanted);
  return {moved_here(inputs), moved_here(weights), moved_here(bias)};
}

// Everything else: the CPU computes it in place.
void by_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto name = op.schema().name();
  for (auto waits : {"nonzero", "equal", "_unique2", "masked_select", "is_nonzero"})
    if (name == std::string("aten::") + waits) happened(name);
  bool here = false, elsewhere = false;
  std::vector<std::pair<Tensor, Tensor>> aliases;  // and what they stand for
  auto alias = [&](const Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    (is_here(tensor) ? here : elsewhere) |= is_here(tensor) || tensor.dim() > 0;
    aliases.emplace_back(on_cpu(tensor), tensor);
    return aliases.back().first;
  };
  const auto count = op.schema().arguments().size();
  for (auto at = stack->end() - count; at != stack->end(); ++at) {
    if (at->isTensor()) {
      *at = alias(at->toTensor());
    } else if (at->isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& each : at->toTensorVector()) list.push_back(alias(each));
      *at = list;
    } else if (at->isOptionalTensorList()) {
      c10::List<MaybeTensor> list;
      for (const MaybeTensor& each : at->toOptionalTensorVector())
        list.push_back(each ? MaybeTensor(alias(*each)) : std::nullopt);
      *at = list;
    } else if (at->isDevice()) {
      *at = c10::Device(at::kCPU);
    }
  }
  TORCH_CHECK(!(here && elsewhere), name, ": tensors of two devices");
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    op.callBoxed(stack);
  }
  Inside operation;
  auto original = [&](const Tensor& tensor) {
    for (auto& [own, other] : aliases) {
      if (!own.is_same(tensor)) continue;
      if (own.sizes() != other.sizes()) copy_from_and_resize(own, other);  // an empty `out`
      return other;
    }
    return moved_here(tensor);
  };
  const auto results = op.schema().returns().size();
  for (auto at = stack->end() - results; at != stack->end(); ++at) {
    if (at->isTensor()) {
      *at = original(at->toTensor());
    } else if (at->isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& each : at->toTensorVector()) list.push_back(original(each));
      *at = list;
    }
  }
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("resize_", resize);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", read);
  library.impl("convolution_overrideable", convolution);
  library.impl("convolution_backward_overrideable", convolution_backward);
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("events", [] { return events; });
}
