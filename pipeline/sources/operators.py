"""The operators that a program from a file may call: only those that networks need.

A TorchScript or torch.export file is a program. The operators that it may call are listed here by name (torch
2.13, aten/src/ATen/native/native_functions.yaml and torch/csrc/jit/runtime/register_prim_ops.cpp). Everything else
(`save`, `from_file`, custom operators, Python calls) is refused before anything is loaded.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEURAL = _words(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution "
    "_convolution_mode linear bilinear matmul mm bmm addmm baddbmm addbmm mv dot vdot outer einsum "
    "tensordot "
    "batch_norm instance_norm group_norm layer_norm rms_norm native_batch_norm native_group_norm "
    "native_layer_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool1d_with_indices "
    "max_pool2d_with_indices max_pool3d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d max_unpool2d pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d _pad_circular upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa _upsample_lanczos2d_aa pixel_shuffle pixel_unshuffle "
    "channel_shuffle native_channel_shuffle grid_sampler "
    "grid_sampler_2d grid_sampler_3d affine_grid_generator im2col col2im unfold embedding one_hot "
    "scaled_dot_product_attention softmax _softmax log_softmax _log_softmax dropout native_dropout "
    "feature_dropout alpha_dropout feature_alpha_dropout relu relu6 leaky_relu prelu _prelu_kernel rrelu elu celu "
    "selu gelu silu mish glu sigmoid log_sigmoid hardsigmoid hardswish hardtanh hardshrink softshrink softplus "
    "tanh threshold cosine_similarity pairwise_distance norm frobenius_norm linalg_norm "
    "linalg_vector_norm linalg_matrix_norm _weight_norm _weight_norm_interface"
)
ELEMENTWISE = _words(
    "abs absolute acos acosh add addcdiv addcmul asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or "
    "bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos cosh deg2rad div divide eq equal erf erfc "
    "erfinv exp exp2 expm1 floor floor_divide floordiv fmax fmin fmod frac ge greater greater_equal gt hypot "
    "isclose isfinite isinf isnan ldexp le lerp less less_equal log log10 log1p log2 logaddexp logical_and "
    "logical_not logical_or logical_xor logit lt masked_fill max maximum mathremainder min minimum mul multiply "
    "nan_to_num ne "
    "neg negative not_equal positive pow rad2deg reciprocal remainder round rsqrt rsub sgn sign signbit sin sinc "
    "sinh sqrt square sub subtract tan true_divide trunc fix where xlogy zero "
    "fill heaviside"
)
REDUCTIONS = _words(
    "all allclose amax amin aminmax any argmax argmin argsort count_nonzero cummax cummin cumprod cumsum dist "
    "logsumexp mean median mode nanmean nansum prod quantile sort std std_mean sum topk trace unique_consecutive "
    "_unique2 var var_mean bincount histc kthvalue msort bucketize searchsorted"
)
SHAPES = _words(
    "alias as_strided atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cat chunk clone "
    "column_stack concat concatenate contiguous copy detach diag diag_embed diagonal dsplit dstack expand "
    "expand_as flatten flip fliplr flipud gather hsplit hstack index index_add index_copy index_fill index_put "
    "index_select masked_scatter masked_select meshgrid moveaxis movedim narrow nonzero nonzero_numpy permute "
    "ravel repeat repeat_interleave reshape reshape_as roll rot90 scatter scatter_add "
    "scatter_reduce select select_scatter slice slice_scatter split split_with_sizes squeeze stack sum_to_size "
    "swapaxes swapdims t take take_along_dim tensor_split tile transpose tril triu unbind unflatten unsafe_chunk "
    "unsafe_split unsafe_split_with_sizes unsqueeze view view_as view_as_complex view_as_real _unsafe_view vsplit "
    "vstack mT cross tril_indices triu_indices cartesian_prod combinations lift_fresh lift_fresh_copy lift "
    "squeeze_copy view_copy permute_copy expand_copy select_copy slice_copy transpose_copy unsqueeze_copy "
    "t_copy alias_copy detach_copy split_copy split_with_sizes_copy unbind_copy diagonal_copy as_strided_copy"
)
CREATION = _words(
    "arange eye full full_like linspace logspace new_full new_ones new_zeros ones ones_like scalar_tensor tensor "
    "as_tensor zeros zeros_like empty empty_like new_empty empty_strided _to_copy "
    "to type_as _cast_Float _cast_Long rand rand_like randn "
    "randn_like randint bernoulli normal complex real imag conj _conj resolve_conj polar angle hann_window "
    "hamming_window blackman_window stft istft fft_fft fft_ifft fft_fft2 fft_ifft2 fft_rfft fft_irfft fft_rfft2 "
    "fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_fftshift fft_ifftshift _fft_r2c _fft_c2r _fft_c2c"
)
QUERIES = _words(
    "dim numel size sym_size sym_numel sym_stride sym_storage_offset stride storage_offset is_floating_point "
    "is_complex is_contiguous is_nonzero is_signed item _local_scalar_dense "
    "_assert_scalar _assert_async _assert_tensor_metadata "
    "sym_constrain_range sym_constrain_range_for_size result_type promote_types can_cast broadcast_shapes "
    "is_grad_enabled is_autocast_enabled is_scripting device element_size cpu get_device "
    "len _shape_as_tensor"
)
TENSORS = NEURAL | ELEMENTWISE | REDUCTIONS | SHAPES | CREATION | QUERIES
"""Names of ATen operators, without `aten::` and without an overload."""

LANGUAGE = _words(
    "__is__ __isnot__ __not__ __contains__ __and__ __or__ __xor__ __getitem__ __range_length __derive_index "
    "__round_to_zero_floordiv __interpolate __lshift__ __rshift__ append extend insert pop "
    "list dict keys values items get Int Float Bool IntImplicit FloatImplicit ScalarImplicit Complex "
    "ComplexImplicit format str percentFormat gcd degrees radians factorial floor ceil copysign gamma lower upper "
    "startswith endswith find replace strip split join _set_item index count remove reverse clear update"
)
"""Operators on TorchScript's own lists, dicts, numbers and strings."""
PRIMITIVES = _words(
    "NumToTensor RaiseException device dtype layout is_cuda is_cpu is_mps is_xla requires_grad min max abs "
    "unchecked_unwrap_optional is_quantized is_sparse is_nested itemsize tolist"
)
"""Operators of the namespace prim (TorchScript's own)."""


def is_tensor_operator(name: str) -> bool:
    """Whether an ATen operator of this name (no overload) may be called; in-place forms end with `_`."""
    return name in TENSORS or (name.endswith("_") and not name.startswith("__") and name[:-1] in TENSORS)
