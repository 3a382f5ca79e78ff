// What generated kernels call. Each section is opened by a line that names what it defines; a kernel
// gets the sections that it mentions, and those that these mention, in this order. A section may only
// use what stands above it. The g_ functions mean the same as those of ir/scalar.h on the host.

//: vec load store
// N neighbouring elements, moved by one instruction.
template <class T, int N> struct alignas(sizeof(T) * N) vec {
    T at[N];
};

template <int N, class T> static __device__ __forceinline__ vec<T, N> load(const T *__restrict__ p)
{
    return *reinterpret_cast<const vec<T, N> *>(p);
}

template <class T, int N> static __device__ __forceinline__ void store(T *p, vec<T, N> v)
{
    *reinterpret_cast<vec<T, N> *>(p) = v;
}

//: g_bits
// The same bits as another type of the same size.
template <class To, class From> static __device__ __forceinline__ To g_bits(From a)
{
    static_assert(sizeof(To) == sizeof(From), "g_bits keeps the size");
    To b;
    memcpy(&b, &a, sizeof b);
    return b;
}

//: f16
// Half precision in memory; float in registers.
struct f16 {
    unsigned short bits;
    f16() = default;
    __device__ __forceinline__ explicit f16(float a)
    {
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(a));
    }
    __device__ __forceinline__ operator float() const
    {
        float a;
        asm("cvt.f32.f16 %0, %1;" : "=f"(a) : "h"(bits));
        return a;
    }
};

//: bf16
// The upper half of a float in memory; rounded to even.
struct bf16 {
    unsigned short bits;
    bf16() = default;
    __device__ __forceinline__ explicit bf16(float a)
    {
        unsigned int u = __float_as_uint(a);
        bits = a != a ? 0x7fc0 : (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
    __device__ __forceinline__ operator float() const
    {
        return __uint_as_float((unsigned int)bits << 16);
    }
};

//: small_float_encode small_float_decode small_float
// Floats of 4 and 8 bits: E exponent bits, M mantissa bits. FINITE: no infinities, NaN is all ones
// (none at all in 4 bits). UNSIGNED_ZERO: no -0, its code is the NaN, and no infinities.
enum small_float { IEEE, FINITE, UNSIGNED_ZERO };

template <int E, int M, int BIAS, small_float KIND>
static __device__ __forceinline__ unsigned char small_float_encode(float a, bool saturate)
{
    const int sign = __float_as_uint(a) >> 31 << (E + M);
    const int top = (1 << (E + M)) - 1; // all ones but the sign
    const int infinity = ((1 << E) - 1) << M;
    const int nan = KIND == UNSIGNED_ZERO || E + M == 3 ? 1 << (E + M)
                    : KIND == IEEE                      ? sign | infinity | 2
                                                        : sign | top;
    const int most = E + M == 3 ? top : KIND == IEEE ? infinity - 1 : KIND == FINITE ? top - 1 : top;
    const int over = saturate || E + M == 3 ? sign | most : KIND == IEEE ? sign | infinity : nan;
    if (a != a)
        return nan;
    const float magnitude = fabsf(a);
    if (isinf(magnitude))
        return over;
    int exponent = (int)(__float_as_uint(magnitude) >> 23) - 127;
    exponent = max(exponent, 1 - BIAS);
    // In units of the last place; rintf rounds to even. A carry moves on to the next exponent.
    const int units = (int)rintf(ldexpf(magnitude, M - exponent));
    const int code = units + ((exponent + BIAS - 1) << M);
    if (code > most)
        return over;
    return KIND == UNSIGNED_ZERO && code == 0 ? 0 : sign | code;
}

template <int E, int M, int BIAS, small_float KIND>
static __device__ __forceinline__ float small_float_decode(unsigned char bits)
{
    const int top = (1 << (E + M)) - 1, magnitude = bits & top;
    const bool negative = bits >> (E + M) & 1;
    const int exponent = magnitude >> M, mantissa = magnitude & ((1 << M) - 1);
    float a = exponent ? ldexpf((float)(mantissa | 1 << M), exponent - BIAS - M)
                       : ldexpf((float)mantissa, 1 - BIAS - M);
    if (KIND == UNSIGNED_ZERO && negative && magnitude == 0)
        a = __uint_as_float(0x7fc00000);
    if (KIND == FINITE && E + M == 7 && magnitude == top)
        a = __uint_as_float(0x7fc00000);
    if (KIND == IEEE && exponent == (1 << E) - 1)
        a = __uint_as_float(mantissa ? 0x7fc00000 : 0x7f800000);
    return negative ? -a : a;
}

//: f8e4m3fn
struct f8e4m3fn {
    unsigned char bits;
    f8e4m3fn() = default;
    __device__ __forceinline__ explicit f8e4m3fn(float a, bool saturate = false)
        : bits(small_float_encode<4, 3, 7, FINITE>(a, saturate))
    {
    }
    __device__ __forceinline__ operator float() const
    {
        return small_float_decode<4, 3, 7, FINITE>(bits);
    }
};

//: f8e4m3fnuz
struct f8e4m3fnuz {
    unsigned char bits;
    f8e4m3fnuz() = default;
    __device__ __forceinline__ explicit f8e4m3fnuz(float a, bool saturate = false)
        : bits(small_float_encode<4, 3, 8, UNSIGNED_ZERO>(a, saturate))
    {
    }
    __device__ __forceinline__ operator float() const
    {
        return small_float_decode<4, 3, 8, UNSIGNED_ZERO>(bits);
    }
};

//: f8e5m2
struct f8e5m2 {
    unsigned char bits;
    f8e5m2() = default;
    __device__ __forceinline__ explicit f8e5m2(float a, bool saturate = false)
        : bits(small_float_encode<5, 2, 15, IEEE>(a, saturate))
    {
    }
    __device__ __forceinline__ operator float() const
    {
        return small_float_decode<5, 2, 15, IEEE>(bits);
    }
};

//: f8e5m2fnuz
struct f8e5m2fnuz {
    unsigned char bits;
    f8e5m2fnuz() = default;
    __device__ __forceinline__ explicit f8e5m2fnuz(float a, bool saturate = false)
        : bits(small_float_encode<5, 2, 16, UNSIGNED_ZERO>(a, saturate))
    {
    }
    __device__ __forceinline__ operator float() const
    {
        return small_float_decode<5, 2, 16, UNSIGNED_ZERO>(bits);
    }
};

//: f4e2m1
// One value a byte; the nibbles are packed at the model's inputs and outputs only.
struct f4e2m1 {
    unsigned char bits;
    f4e2m1() = default;
    __device__ __forceinline__ explicit f4e2m1(float a)
        : bits(small_float_encode<2, 1, 1, FINITE>(a, true))
    {
    }
    __device__ __forceinline__ operator float() const
    {
        return small_float_decode<2, 1, 1, FINITE>(bits);
    }
};

//: f8e8m0
// A power of two, 2^(bits - 127); 255 is NaN. No sign; fractions round up.
struct f8e8m0 {
    unsigned char bits;
    f8e8m0() = default;
    __device__ __forceinline__ explicit f8e8m0(float a, bool saturate = false)
    {
        const unsigned int u = __float_as_uint(fabsf(a));
        const unsigned int up = u < 0x800000 ? u > 0x400000 : (u >> 23) + ((u & 0x7fffff) != 0);
        bits = a != a || (!saturate && (u < 0x400000 || up > 254)) ? 255 : up > 254 ? 254 : up;
    }
    __device__ __forceinline__ operator float() const
    {
        return __uint_as_float(bits == 255 ? 0x7fc00000 : bits == 0 ? 0x400000 : bits << 23);
    }
};

//: c64
struct alignas(8) c64 {
    float real, imaginary;
};

//: c128
struct alignas(16) c128 {
    double real, imaginary;
};

//: g_wrap4
// The number that the lowest bits of an integer stand for.
static __device__ __forceinline__ signed char g_wrap4(int a) { return a << 28 >> 28; }

//: g_wrap2
static __device__ __forceinline__ signed char g_wrap2(int a) { return a << 30 >> 30; }

//: g_wrapu4
static __device__ __forceinline__ unsigned char g_wrapu4(int a) { return a & 15; }

//: g_wrapu2
static __device__ __forceinline__ unsigned char g_wrapu2(int a) { return a & 3; }

//: pick_index
// An index tensor's element as a position: negative counts from the end, out of range is clamped.
template <class T> static __device__ __forceinline__ idx_t pick_index(T i, idx_t n)
{
    const long long at = i < 0 ? (long long)i + n : (long long)i;
    return (idx_t)(at < 0 ? 0 : at >= n ? n - 1 : at);
}

//: pad_reflect
// Mirrored at the first and the last element, which are not repeated.
static __device__ __forceinline__ idx_t pad_reflect(idx_t i, idx_t n)
{
    const idx_t period = n > 1 ? 2 * (n - 1) : 1;
    const idx_t at = (i < 0 ? -i : i) % period;
    return at < n ? at : period - at;
}

//: pad_edge
static __device__ __forceinline__ idx_t pad_edge(idx_t i, idx_t n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

//: pad_wrap
static __device__ __forceinline__ idx_t pad_wrap(idx_t i, idx_t n)
{
    const idx_t at = i % n;
    return at < 0 ? at + n : at;
}

//: g_abs
template <class T> __device__ __forceinline__ T g_abs(T a) { return a < 0 ? -a : a; }
template <> __device__ __forceinline__ float g_abs(float a) { return fabsf(a); }
template <> __device__ __forceinline__ double g_abs(double a) { return fabs(a); }

//: g_div
template <class T> __device__ __forceinline__ T g_div(T a, T b)
{
    if (b == 0)
        return 0;
    return (T)-1 < 0 && b == (T)-1 ? (T)(0 - a) : (T)(a / b);
}
template <> __device__ __forceinline__ float g_div(float a, float b) { return a / b; }
template <> __device__ __forceinline__ double g_div(double a, double b) { return a / b; }

//: g_rem
template <class T> __device__ __forceinline__ T g_rem(T a, T b)
{
    return b == 0 || ((T)-1 < 0 && b == (T)-1) ? (T)0 : (T)(a % b);
}
template <> __device__ __forceinline__ float g_rem(float a, float b) { return fmodf(a, b); }
template <> __device__ __forceinline__ double g_rem(double a, double b) { return fmod(a, b); }

//: g_mod
template <class T> static __device__ __forceinline__ T g_mod(T a, T b)
{
    const T r = g_rem(a, b);
    return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;
}

//: g_pow
template <class T> __device__ __forceinline__ T g_pow(T a, T b)
{
    if (b < 0)
        return a == 1 ? (T)1 : a == (T)-1 ? (T)(b & 1 ? -1 : 1) : (T)0;
    T result = 1;
    for (; b != 0; b = (T)(b >> 1)) {
        if (b & 1)
            result = (T)(result * a);
        a = (T)(a * a);
    }
    return result;
}
template <> __device__ __forceinline__ float g_pow(float a, float b) { return powf(a, b); }
template <> __device__ __forceinline__ double g_pow(double a, double b) { return pow(a, b); }

//: g_pair
// What two reductions in one pass are at; the second member may be a pair again.
template <class A, class B> struct g_pair {
    A a;
    B b;
};

//: g_min
// NaN if either is.
template <class T> static __device__ __forceinline__ T g_min(T a, T b)
{
    return a < b || a != a ? a : b;
}
#if __CUDA_ARCH__ >= 800
static __device__ __forceinline__ float g_min(float a, float b)
{
    float least;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(least) : "f"(a), "f"(b));
    return least;
}
#endif

//: g_max
// NaN if either is.
template <class T> static __device__ __forceinline__ T g_max(T a, T b)
{
    return a > b || a != a ? a : b;
}
#if __CUDA_ARCH__ >= 800
static __device__ __forceinline__ float g_max(float a, float b)
{
    float greatest;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(greatest) : "f"(a), "f"(b));
    return greatest;
}
#endif

//: g_sign
template <class T> static __device__ __forceinline__ T g_sign(T a)
{
    return a > 0 ? (T)1 : a < 0 ? (T)-1 : a == 0 ? (T)0 : a;
}

//: g_floor
template <class T> static __device__ __forceinline__ T g_floor(T a) { return floor(a); }

//: g_ceil
template <class T> static __device__ __forceinline__ T g_ceil(T a) { return ceil(a); }

//: g_round
// Halves to even.
template <class T> static __device__ __forceinline__ T g_round(T a) { return rint(a); }

//: g_sqrt
template <class T> static __device__ __forceinline__ T g_sqrt(T a) { return sqrt(a); }

//: g_rsqrt
template <class T> static __device__ __forceinline__ T g_rsqrt(T a) { return (T)1 / sqrt(a); }

//: g_recip
template <class T> static __device__ __forceinline__ T g_recip(T a) { return (T)1 / a; }

//: g_exp
template <class T> static __device__ __forceinline__ T g_exp(T a) { return exp(a); }

//: g_log
template <class T> static __device__ __forceinline__ T g_log(T a) { return log(a); }

//: g_log1p
template <class T> static __device__ __forceinline__ T g_log1p(T a) { return log1p(a); }

//: g_expm1
template <class T> static __device__ __forceinline__ T g_expm1(T a) { return expm1(a); }

//: g_sin
template <class T> static __device__ __forceinline__ T g_sin(T a) { return sin(a); }

//: g_cos
template <class T> static __device__ __forceinline__ T g_cos(T a) { return cos(a); }

//: g_tan
template <class T> static __device__ __forceinline__ T g_tan(T a) { return tan(a); }

//: g_asin
template <class T> static __device__ __forceinline__ T g_asin(T a) { return asin(a); }

//: g_acos
template <class T> static __device__ __forceinline__ T g_acos(T a) { return acos(a); }

//: g_atan
template <class T> static __device__ __forceinline__ T g_atan(T a) { return atan(a); }

//: g_sinh
template <class T> static __device__ __forceinline__ T g_sinh(T a) { return sinh(a); }

//: g_cosh
template <class T> static __device__ __forceinline__ T g_cosh(T a) { return cosh(a); }

//: g_tanh
template <class T> static __device__ __forceinline__ T g_tanh(T a) { return tanh(a); }

//: g_asinh
template <class T> static __device__ __forceinline__ T g_asinh(T a) { return asinh(a); }

//: g_acosh
template <class T> static __device__ __forceinline__ T g_acosh(T a) { return acosh(a); }

//: g_atanh
template <class T> static __device__ __forceinline__ T g_atanh(T a) { return atanh(a); }

//: g_erf
template <class T> static __device__ __forceinline__ T g_erf(T a) { return erf(a); }

//: g_power_of_two g_one_over
// One instruction each; results below the normal range become 0.
static __device__ __forceinline__ float g_power_of_two(float a)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(a));
    return power;
}

static __device__ __forceinline__ float g_one_over(float a)
{
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(a));
    return reciprocal;
}

//: g_sigmoid
// exp of what is not positive, so that nothing overflows.
template <class T> static __device__ __forceinline__ T g_sigmoid(T a)
{
    const T e = exp(-fabs(a));
    return (a < 0 ? e : (T)1) / ((T)1 + e);
}
// An infinite power has the reciprocal 0, as it should.
static __device__ __forceinline__ float g_sigmoid(float a)
{
    return g_one_over(1.0f + g_power_of_two(a * -1.442695041f));
}

//: g_limited g_rectified
// The distance from 0 times sqrt(log2(e) / 2), at most 16; max(a, 0), and NaN if a is.
static __device__ __forceinline__ float g_limited(float a)
{
    return fminf(fabsf(a) * 0.84932180f, 16.0f);
}

static __device__ __forceinline__ float g_rectified(float a)
{
#if __CUDA_ARCH__ >= 800
    float rectified;
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(rectified) : "f"(a));
    return rectified;
#else
    return a < 0 ? 0.0f : a;
#endif
}

//: g_gelu
// max(a, 0) - y*Q, where y is g_limited(a) and Q, the tail of the normal distribution in that scale,
// is t*P(t)*2^(-y*y) with t = 1/(1 + p*y); relative error 2^-22. Of the tail nothing is left at 16,
// and a limit is needed: infinity must not meet a 0.
template <class T> static __device__ __forceinline__ T g_gelu(T a)
{
    return a < -40 ? (T)0 : a * (T)0.5 * erfc(a * (T)-0.70710678118654752);
}

static __device__ __forceinline__ float g_gelu(float a)
{
    const float y = g_limited(a), t = g_one_over(fmaf(y, 0.353222996f, 1.0f));
    float p = fmaf(t, 0.0420038328f, -0.185092464f);
    p = fmaf(p, t, 0.242962658f);
    p = fmaf(p, t, -0.0632076338f);
    p = fmaf(p, t, 0.151369736f);
    p = fmaf(p, t, 0.117639147f);
    p = fmaf(p, t, 0.142176911f);
    p = fmaf(p, t, 0.140852734f);
    return fmaf(-y, p * t * g_power_of_two(-(y * y)), g_rectified(a));
}

//: g_narrow_gelu
// The same for results of 16 bits or fewer: off by 0.18 units of f16 before rounding.
static __device__ __forceinline__ float g_narrow_gelu(float a)
{
    const float y = g_limited(a), t = g_one_over(fmaf(y, 0.341448903f, 1.0f));
    float p = fmaf(t, 0.305382967f, -0.0355783589f);
    p = fmaf(p, t, 0.189055055f);
    p = fmaf(p, t, 0.129896089f);
    return fmaf(-y, p * t * g_power_of_two(-(y * y)), g_rectified(a));
}

//: g_gelu_tanh
// (1 + tanh(u)) / 2 is the logistic function of 2u: its exponent, in powers of two.
template <class T> static __device__ __forceinline__ T g_gelu_tanh(T a)
{
    return a * (T)0.5 * ((T)1 + tanh((T)0.79788456080286536 * (a + (T)0.044715 * a * a * a)));
}

static __device__ __forceinline__ float g_gelu_tanh(float a)
{
    const float exponent = a * fmaf(a * a, -0.102943240f, -2.30220819f);
    return a * g_one_over(1.0f + g_power_of_two(exponent));
}

//: g_mish
// tanh(log(1 + w)) = (w*w + 2w) / (w*w + 2w + 2) for w = exp(a); from 20 on it is 1.
template <class T> static __device__ __forceinline__ T g_mish(T a)
{
    const T w = exp(a < (T)20 ? a : (T)20), n = w * (w + (T)2);
    return a * (n / (n + (T)2));
}

static __device__ __forceinline__ float g_mish(float a)
{
    const float w = g_power_of_two(fminf(a, 20.0f) * 1.442695041f), n = fmaf(w, w, w + w);
    return a * (n * g_one_over(n + 2.0f));
}

//: g_round_tf32
static __device__ __forceinline__ float g_round_tf32(float a)
{
    const unsigned bits = g_bits<unsigned>(a);
    return (bits & 0x7f800000) == 0x7f800000 ? a : g_bits<float>((bits + 0x1000) & ~0x1fffu);
}

static __device__ __forceinline__ double g_round_tf32(double a)
{
    return g_round_tf32((float)a);
}

//: g_hard_swish
template <class T> static __device__ __forceinline__ T g_hard_swish(T a)
{
    const T gate = a * (T)(1.0 / 6) + (T)0.5;
    return a * (gate < 0 ? (T)0 : gate > 1 ? (T)1 : gate);
}

static __device__ __forceinline__ float g_hard_swish(float a)
{
    return a * __saturatef(fmaf(a, 0.166666667f, 0.5f));
}

//: g_softplus
template <class T> static __device__ __forceinline__ T g_softplus(T a)
{
    return (a > 0 ? a : a != a ? a : (T)0) + log1p(exp(-fabs(a)));
}

//: g_isinf
template <class T> static __device__ __forceinline__ bool g_isinf(T a) { return isinf(a); }

//: g_shl
// Shifts by the width or more give 0.
template <class T> static __device__ __forceinline__ T g_shl(T a, T b)
{
    return (unsigned long long)b < 8 * sizeof(T) ? (T)((unsigned long long)a << b) : (T)0;
}

//: g_shr
template <class T> static __device__ __forceinline__ T g_shr(T a, T b)
{
    return (unsigned long long)b < 8 * sizeof(T) ? (T)(a >> b) : (T)0;
}

//: g_random
// Philox4x32, 10 rounds (Salmon et al., SC 2011): 64 bits for a counter and a key.
static __device__ __forceinline__ unsigned long long g_random(unsigned long long counter,
                                                              unsigned long long key)
{
    unsigned c0 = (unsigned)counter, c1 = (unsigned)(counter >> 32), c2 = 0, c3 = 0;
    unsigned k0 = (unsigned)key, k1 = (unsigned)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned long long x = 0xd2511f53ull * c0, y = 0xcd9e8d57ull * c2;
        c0 = (unsigned)(y >> 32) ^ c1 ^ k0;
        c1 = (unsigned)y;
        c2 = (unsigned)(x >> 32) ^ c3 ^ k1;
        c3 = (unsigned)x;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return (unsigned long long)c1 << 32 | c0;
}

//: g_to_int
// Towards zero; NaN is 0. 32 and 64 bits saturate (the conversion instruction does); narrower types
// and u32 take the low bits of a long long, and so do negative numbers as u64.
template <class T, class F> static __device__ __forceinline__ T g_to_int(F a)
{
    if (a != a)
        return 0;
    if (sizeof(T) == 4 && (T)-1 < 0)
        return (T)(int)a;
    if (sizeof(T) == 8 && (T)-1 > 0 && a >= (F)9223372036854775808.0)
        return (T)(unsigned long long)a;
    return (T)(long long)a;
}
