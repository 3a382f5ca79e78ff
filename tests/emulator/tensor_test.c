/*
 * Tensor-core instructions, each form of them once: random operands in the layout that the PTX
 * ISA gives, against a plain product of matrices. Half of the runs use small integers, whose sums
 * are exact in any order; the others the order that exec_mma.c promises.
 */
#include "device.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { F16, BF16, TF32, E4M3, E5M2, S8, U8, S4, U4, B1, F64 };
static const int type_bits[] = {16, 16, 32, 8, 8, 8, 8, 4, 4, 1, 64};

struct mma_case {
    const char *op; /* after "mma.sync.aligned." */
    int m, k;       /* n is 8 */
    enum type a, b;
    int half_sums;
};

static uint32_t seed = 1;

static uint32_t random_bits(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8 ^ seed << 20;
}

/* ---- Values of operands ---- */

static double value_of(enum type t, uint64_t bits)
{
    float f;
    double d;
    uint32_t word;
    switch (t) {
    case F16: {
        int e = (int)(bits >> 10 & 31), m = (int)(bits & 1023);
        d = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        return bits & 0x8000 ? -d : d;
    }
    case BF16: word = (uint32_t)bits << 16; break;
    case TF32: word = (uint32_t)bits & 0xffffe000u; break;
    case E4M3:
        d = bits & 0x78 ? ldexp(8 + (double)(bits & 7), (int)(bits >> 3 & 15) - 10)
                        : ldexp((double)(bits & 7), -9);
        return bits & 0x80 ? -d : d;
    case E5M2: return value_of(F16, bits << 8);
    case S8: return (int8_t)bits;
    case U8: return (uint8_t)bits;
    case S4: return (double)(bits & 15) - (bits & 8 ? 16 : 0);
    case U4: return (double)(bits & 15);
    case B1: return (double)(bits & 1);
    default: memcpy(&d, &bits, sizeof d); return d;
    }
    memcpy(&f, &word, sizeof f);
    return (double)f;
}

static uint64_t bits_of(enum type t, int small)
{
    uint32_t r = random_bits();
    int i = (int)(r % 7) - 3;
    float f = small ? (float)i : (float)((int)(r & 0xffff) - 0x8000) / 4096.0f;
    uint32_t word;
    double d = (double)f;
    memcpy(&word, &f, sizeof word);
    switch (t) {
    case F16:
        for (uint32_t h = 0; small; h++) {
            if (value_of(F16, h) == (double)i) {
                return h;
            }
        }
        return (r & 0x83ff) | (8 + (r >> 16) % 12) << 10;
    case BF16: return small ? word >> 16 : (r & 0x80ff) | 0x3f00;
    case TF32: return small ? word : word | (r & 0xfff);
    case E4M3:
        return small ? (const uint8_t[]){0xc4, 0xc0, 0xb8, 0, 0x38, 0x40, 0x44}[i + 3]
               : (r & 0x7f) == 0x7f ? 0
                                    : r & 0xff;
    case E5M2:
        return small ? (const uint8_t[]){0xc2, 0xc0, 0xbc, 0, 0x3c, 0x40, 0x42}[i + 3]
                     : (r & 0x83) | (10 + (r >> 16) % 10) << 2;
    case F64: d = small ? d : d + ldexp((double)random_bits(), -50); break;
    default: return r & ((UINT64_C(1) << type_bits[t]) - 1);
    }
    uint64_t wide;
    memcpy(&wide, &d, sizeof wide);
    return wide;
}

/* ---- Where elements lie (PTX ISA, matrix fragments for mma) ---- */

/* Row and column of element e of register r of A in a lane; of B: column and row. */
static void place(int m, int bits, int lane, int r, int e, int *row, int *k)
{
    int per = bits == 64 ? 1 : 32 / bits, group = lane >> 2, in_group = lane % 4;
    int parts = m / 8;
    *row = group + (r % parts) * 8;
    *k = in_group * per + e + (r / parts) * 4 * per;
}

struct matrices {
    uint64_t a[16][256], b[256][8]; /* bits of the elements */
    double c[16][8];
};

static void fill(const struct mma_case *x, struct matrices *q, int small)
{
    for (int i = 0; i < x->m; i++) {
        for (int k = 0; k < x->k; k++) {
            q->a[i][k] = bits_of(x->a, small);
        }
    }
    for (int k = 0; k < x->k; k++) {
        for (int j = 0; j < 8; j++) {
            q->b[k][j] = bits_of(x->b, small);
        }
    }
    for (int i = 0; i < x->m; i++) {
        for (int j = 0; j < 8; j++) {
            q->c[i][j] = (double)((int)(random_bits() % 65) - 32);
        }
    }
}

/* What must come out. */
static double expected(const struct mma_case *x, const struct matrices *q, int i, int j)
{
    double sum = q->c[i][j];
    int64_t whole = (int64_t)sum;
    for (int k = 0; k < x->k; k++) {
        double a = value_of(x->a, q->a[i][k]), b = value_of(x->b, q->b[k][j]);
        if (x->a == F64) {
            sum = fma(a, b, sum);
        } else if (x->a == B1) {
            whole += strstr(x->op, "and") ? a * b != 0.0 : a != b;
        } else if (x->a >= S8) {
            whole += (int64_t)(a * b);
        } else {
            sum = (double)fmaf((float)a, (float)b, (float)sum);
        }
    }
    return x->a >= S8 && x->a <= B1 ? (double)whole : sum;
}

/* ---- The kernel: registers of lane i at in[32 * register + i] ---- */

static size_t list(char *to, size_t room, const char *prefix, int first, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        at += (size_t)snprintf(to + at, room - at, "%s%s%d", i ? ", " : "", prefix, first + i);
    }
    return at;
}

static CUfunction kernel_of(const struct mma_case *x, int nd, int nc, int na, int nb)
{
    char text[8192], d[200], a[200], b[200], c[200];
    int wide = x->a == F64, bytes = wide ? 8 : 4, n = na + nb + nc;
    const char *t = wide ? "b64" : "b32", *r = wide ? "%v" : "%v";
    list(a, sizeof a, r, 0, na);
    list(b, sizeof b, r, na, nb);
    list(c, sizeof c, r, na + nb, nc);
    list(d, sizeof d, r, n, nd);
    size_t at = (size_t)snprintf(
        text, sizeof text,
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 p)\n{\n"
        ".reg .%s %%v<40>;\n.reg .b64 %%p<4>;\n.reg .b32 %%t;\n"
        "ld.param.u64 %%p0, [p];\nmov.u32 %%t, %%tid.x;\nmul.wide.u32 %%p1, %%t, %d;\n"
        "add.s64 %%p2, %%p0, %%p1;\n",
        t, bytes);
    for (int i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "ld.global.%s %s%d, [%%p2+%d];\n", t, r,
                               i, i * 32 * bytes);
    }
    at += (size_t)snprintf(text + at, sizeof text - at,
                           "mma.sync.aligned.%s {%s}, {%s}, {%s}, {%s};\n", x->op, d, a, b, c);
    for (int i = 0; i < nd; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "st.global.%s [%%p2+%d], %s%d;\n", t,
                               (n + i) * 32 * bytes, r, n + i);
    }
    snprintf(text + at, sizeof text - at, "ret;\n}\n");
    CUmodule m = NULL;
    if (cuModuleLoadData(&m, text)) {
        print_error("%s\n%s", gpucc_emu_last_error(), text);
        fail();
    }
    return device_function(m, "k");
}

static uint16_t half_bits(double v)
{
    for (uint32_t h = 0; h < 0x7c00; h++) { /* the nearest, even if between two */
        double low = value_of(F16, h), high = value_of(F16, h + 1), x = fabs(v);
        if (x >= low && x < high) {
            double middle = (low + high) / 2;
            h += x > middle || (x == middle && (h & 1));
            return (uint16_t)(h | (v < 0 ? 0x8000u : 0));
        }
    }
    return (uint16_t)(0x7c00 | (v < 0 ? 0x8000u : 0));
}

static void run_case(const struct mma_case *x, int small)
{
    struct matrices *q = calloc(1, sizeof *q);
    assert_non_null(q);
    fill(x, q, small);
    int parts = x->m / 8, per_row = 128 / type_bits[x->a], wide = x->a == F64;
    int chunks = wide ? x->k / 4 : x->k / per_row, na = parts * chunks, nb = chunks;
    int nd = x->half_sums ? parts : 2 * parts, bits = type_bits[x->a];
    uint64_t in[24][32] = {{0}}, got[32];
    for (int lane = 0; lane < 32; lane++) {
        int row, k, per = wide ? 1 : 32 / bits;
        for (int r = 0; r < na; r++) {
            for (int e = 0; e < per; e++) {
                place(x->m, bits, lane, r, e, &row, &k);
                in[r][lane] |= q->a[row][k] << (wide ? 0 : e * bits);
            }
        }
        for (int r = 0; r < nb; r++) {
            for (int e = 0; e < per; e++) {
                place(8, bits, lane, r, e, &row, &k);
                in[na + r][lane] |= q->b[k][row] << (wide ? 0 : e * bits);
            }
        }
        for (int r = 0; r < nd; r++) {
            int i = (lane >> 2) + (x->half_sums ? r : r / 2) * 8;
            int j = lane % 4 * 2 + (x->half_sums ? 0 : r % 2);
            double c = q->c[i][j];
            float f = (float)c;
            uint64_t v = (uint32_t)(int32_t)c;
            if (x->half_sums) {
                v = half_bits(c) | (uint64_t)half_bits(q->c[i][j + 1]) << 16;
            } else if (wide) {
                memcpy(&v, &c, sizeof v);
            } else if (x->a < S8) {
                v = 0;
                memcpy(&v, &f, sizeof f);
            }
            in[na + nb + r][lane] = v;
        }
    }
    int n = na + nb + 2 * nd, bytes = wide ? 8 : 4;
    unsigned char *flat = calloc((size_t)n * 32, 8);
    assert_non_null(flat);
    for (int r = 0; r < na + nb + nd; r++) {
        for (int lane = 0; lane < 32; lane++) {
            memcpy(flat + (size_t)(r * 32 + lane) * (size_t)bytes, &in[r][lane], (size_t)bytes);
        }
    }
    CUdeviceptr p = device_put(flat, (size_t)n * 32 * (size_t)bytes);
    void *params[] = {&p};
    device_run(kernel_of(x, nd, nd, na, nb), (struct shape){1, 32, 0}, params);
    device_get(flat, p, (size_t)n * 32 * (size_t)bytes);
    for (int r = 0; r < nd; r++) {
        for (int lane = 0; lane < 32; lane++) {
            int i = (lane >> 2) + (x->half_sums ? r : r / 2) * 8;
            int j = lane % 4 * 2 + (x->half_sums ? 0 : r % 2);
            uint64_t want = 0;
            got[lane] = 0;
            memcpy(&got[lane], flat + (size_t)((na + nb + nd + r) * 32 + lane) * (size_t)bytes,
                   (size_t)bytes);
            double v = expected(x, q, i, j);
            float f = (float)v;
            if (x->half_sums) {
                want = half_bits(v) | (uint64_t)half_bits(expected(x, q, i, j + 1)) << 16;
            } else if (wide) {
                memcpy(&want, &v, sizeof v);
            } else if (x->a < S8) {
                memcpy(&want, &f, sizeof f);
            } else {
                want = (uint32_t)(int32_t)v;
            }
            if (got[lane] != want) {
                print_error("%s, row %d, column %d: %" PRIx64 ", expected %" PRIx64 "\n", x->op, i,
                            j, got[lane], want);
            }
            assert_true(got[lane] == want);
        }
    }
    cuMemFree_v2(p);
    free(flat);
    free(q);
}

static const struct mma_case mma_cases[] = {
    {"m16n8k8.row.col.f32.f16.f16.f32", 16, 8, F16, F16, 0},
    {"m16n8k16.row.col.f32.f16.f16.f32", 16, 16, F16, F16, 0},
    {"m16n8k8.row.col.f16.f16.f16.f16", 16, 8, F16, F16, 1},
    {"m16n8k16.row.col.f16.f16.f16.f16", 16, 16, F16, F16, 1},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 16, 8, BF16, BF16, 0},
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16, BF16, BF16, 0},
    {"m16n8k4.row.col.f32.tf32.tf32.f32", 16, 4, TF32, TF32, 0},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, TF32, TF32, 0},
    {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 16, 32, E4M3, E4M3, 0},
    {"m16n8k32.row.col.f32.e5m2.e4m3.f32", 16, 32, E5M2, E4M3, 0},
    {"m16n8k32.row.col.f32.e4m3.e5m2.f32", 16, 32, E4M3, E5M2, 0},
    {"m16n8k16.row.col.f32.e5m2.e5m2.f32", 16, 16, E5M2, E5M2, 0},
    {"m16n8k16.row.col.f16.e4m3.e4m3.f16", 16, 16, E4M3, E4M3, 1},
    {"m16n8k32.row.col.f16.e5m2.e5m2.f16", 16, 32, E5M2, E5M2, 1},
    {"m8n8k16.row.col.s32.s8.s8.s32", 8, 16, S8, S8, 0},
    {"m8n8k16.row.col.s32.u8.u8.s32", 8, 16, U8, U8, 0},
    {"m16n8k16.row.col.s32.s8.u8.s32", 16, 16, S8, U8, 0},
    {"m16n8k16.row.col.satfinite.s32.u8.s8.s32", 16, 16, U8, S8, 0},
    {"m16n8k32.row.col.s32.s8.s8.s32", 16, 32, S8, S8, 0},
    {"m16n8k32.row.col.s32.u8.u8.s32", 16, 32, U8, U8, 0},
    {"m16n8k32.row.col.satfinite.s32.u8.s8.s32", 16, 32, U8, S8, 0},
    {"m8n8k32.row.col.s32.s4.s4.s32", 8, 32, S4, S4, 0},
    {"m16n8k32.row.col.s32.u4.s4.s32", 16, 32, U4, S4, 0},
    {"m16n8k64.row.col.s32.s4.u4.s32", 16, 64, S4, U4, 0},
    {"m16n8k64.row.col.satfinite.s32.u4.u4.s32", 16, 64, U4, U4, 0},
    {"m8n8k128.row.col.s32.b1.b1.s32.xor.popc", 8, 128, B1, B1, 0},
    {"m16n8k128.row.col.s32.b1.b1.s32.and.popc", 16, 128, B1, B1, 0},
    {"m16n8k256.row.col.s32.b1.b1.s32.xor.popc", 16, 256, B1, B1, 0},
    {"m8n8k4.row.col.f64.f64.f64.f64", 8, 4, F64, F64, 0},
    {"m16n8k4.row.col.f64.f64.f64.f64", 16, 4, F64, F64, 0},
    {"m16n8k8.row.col.f64.f64.f64.f64", 16, 8, F64, F64, 0},
    {"m16n8k16.row.col.f64.f64.f64.f64", 16, 16, F64, F64, 0},
};

static void every_mma(void **state)
{
    (void)state;
    device_start(1, 1);
    for (size_t i = 0; i < sizeof mma_cases / sizeof *mma_cases; i++) {
        for (int run = 0; run < 6; run++) {
            run_case(&mma_cases[i], run % 2);
        }
    }
}

/* ---- m8n8k4 of f16: four products, laid out as the PTX ISA says for each lane ---- */

struct old_layout {
    int columns_a, rows_b, half_c, half_d;
};

static void old_place(const struct old_layout *x, char what, int lane, int i, int *row, int *column)
{
    int upper = lane < 16 ? 0 : 4;
    if (what == 'a') {
        *row = x->columns_a ? i % 4 + upper : lane % 4 + upper;
        *column = x->columns_a ? lane % 4 : i;
    } else if (what == 'b') {
        *row = x->rows_b ? lane % 4 : i;
        *column = x->rows_b ? i + upper : lane % 4 + upper;
    } else if (what == 'h') {
        *row = lane % 4 + upper;
        *column = i;
    } else {
        *row = (lane & 1) + (i & 2) + upper;
        *column = (i & 4) + (lane & 2) + (i & 1);
    }
}

/* What a lane's register holds of small whole numbers m[row][column], two halves or one f32. */
static uint32_t old_register(const struct old_layout *x, char what, int m[8][8], int lane, int r)
{
    int row, column;
    if (what == 'f') {
        old_place(x, what, lane, r, &row, &column);
        float f = (float)m[row][column];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        return bits;
    }
    old_place(x, what, lane, 2 * r, &row, &column);
    uint32_t low = half_bits(m[row][column]);
    old_place(x, what, lane, 2 * r + 1, &row, &column);
    return low | (uint32_t)half_bits(m[row][column]) << 16;
}

static void old_case(const struct old_layout *x)
{
    static int a[4][8][8], b[4][8][8], c[4][8][8], d[4][8][8];
    char op[80];
    snprintf(op, sizeof op, "m8n8k4.%s.%s.%s.f16.f16.%s", x->columns_a ? "col" : "row",
             x->rows_b ? "row" : "col", x->half_d ? "f16" : "f32", x->half_c ? "f16" : "f32");
    int nc = x->half_c ? 4 : 8, nd = x->half_d ? 4 : 8, n = 4 + nc + nd;
    uint32_t flat[20 * 32] = {0};
    for (int i = 0; i < 4 * 64; i++) {
        int q = i / 64, row = i / 8 % 8, column = i % 8;
        a[q][row][column] = (int)(random_bits() % 15) - 7;
        b[q][row][column] = (int)(random_bits() % 15) - 7;
        c[q][row][column] = (int)(random_bits() % 99) - 49;
    }
    for (int i = 0; i < 4 * 64; i++) {
        int q = i / 64, row = i / 8 % 8, column = i % 8;
        d[q][row][column] = c[q][row][column];
        for (int k = 0; k < 4; k++) {
            d[q][row][column] += a[q][row][k] * b[q][k][column];
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        int q = lane % 16 / 4;
        for (int r = 0; r < 2; r++) {
            flat[r * 32 + lane] = old_register(x, 'a', a[q], lane, r);
            flat[(2 + r) * 32 + lane] = old_register(x, 'b', b[q], lane, r);
        }
        for (int r = 0; r < nc; r++) {
            flat[(4 + r) * 32 + lane] = old_register(x, x->half_c ? 'h' : 'f', c[q], lane, r);
        }
    }
    struct mma_case form = {op, 8, 4, F16, F16, x->half_d};
    CUdeviceptr p = device_put(flat, (size_t)n * 128);
    void *params[] = {&p};
    device_run(kernel_of(&form, nd, nc, 2, 2), (struct shape){1, 32, 0}, params);
    device_get(flat, p, (size_t)n * 128);
    for (int lane = 0; lane < 32; lane++) {
        for (int r = 0; r < nd; r++) {
            uint32_t want = old_register(x, x->half_d ? 'h' : 'f', d[lane % 16 / 4], lane, r);
            assert_int_equal(flat[(4 + nc + r) * 32 + lane], want);
        }
    }
    cuMemFree_v2(p);
}

static void every_mma_of_four_products(void **state)
{
    (void)state;
    device_start(1, 1);
    for (int i = 0; i < 16; i++) {
        struct old_layout x = {i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1};
        if (x.half_c || !x.half_d) {
            old_case(&x);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mma),
        cmocka_unit_test(every_mma_of_four_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
