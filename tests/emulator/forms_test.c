/*
 * One instruction, its operands, and what must come out, bit by bit. Each case runs for a full
 * warp, and for a few lanes of one: the others must keep what they had.
 */
#include "device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct form_case {
    const char *op;
    const char *letters; /* as in the table of forms: h 16, w 32, l 64 bits; p predicate */
    uint64_t in[4], out;
};

#define ONE   0x3f800000u
#define TWO   0x40000000u
#define HALF  0x3f000000u
#define NAN32 0x7fc00000u
#define QNAN  0x7fffffffu
#define INF   0x7f800000u
#define TINY  0x00000001u
#define ALL32 0xffffffffu
#define ALL64 UINT64_MAX

static const struct form_case cases[] = {
    /* integers */
    {"add.s32", "w=ww", {0x7fffffff, 1}, 0x80000000},
    {"add.u16", "h=hh", {0xffff, 2}, 1},
    {"add.s64", "l=ll", {ALL64, 2}, 1},
    {"add.sat.s32", "w=ww", {0x7fffffff, 1}, 0x7fffffff},
    {"sub.s32", "w=ww", {0, 1}, ALL32},
    {"mul.lo.s32", "w=ww", {0x10001, 0x10001}, 0x20001},
    {"mul.lo.s64", "l=ll", {0x100000001, 0x100000001}, 0x200000001},
    {"mul.hi.s32", "w=ww", {ALL32, ALL32}, 0},
    {"mul.hi.u32", "w=ww", {ALL32, ALL32}, 0xfffffffe},
    {"mul.hi.u16", "h=hh", {0xffff, 0xffff}, 0xfffe},
    {"mul.hi.s16", "h=hh", {0xffff, 2}, 0xffff},
    {"mul.hi.u64", "l=ll", {ALL64, ALL64}, ALL64 - 1},
    {"mul.hi.s64", "l=ll", {ALL64, 2}, ALL64},
    {"mul.wide.s32", "l=ww", {ALL32, 2}, ALL64 - 1},
    {"mul.wide.u32", "l=ww", {ALL32, 2}, 0x1fffffffe},
    {"mul.wide.u16", "w=hh", {0xffff, 0xffff}, 0xfffe0001},
    {"mul.wide.s16", "w=hh", {0xffff, 3}, 0xfffffffd},
    {"mad.lo.s32", "w=www", {3, 5, 7}, 22},
    {"mad.lo.u64", "l=lll", {3, 5, 7}, 22},
    {"mad.wide.u32", "l=wwl", {ALL32, ALL32, 1}, UINT64_C(0xfffffffe00000002)},
    {"mad.hi.u32", "w=www", {ALL32, ALL32, 3}, 1},
    {"sad.s32", "w=www", {5, 0xfffffffb, 1}, 11},
    {"sad.u32", "w=www", {5, 8, 1}, 4},
    {"div.s32", "w=ww", {0xfffffff9, 2}, 0xfffffffd},
    {"div.s32", "w=ww", {0x80000000, ALL32}, 0x80000000},
    {"div.u32", "w=ww", {7, 0}, ALL32},
    {"div.u64", "l=ll", {ALL64, 10}, ALL64 / 10},
    {"rem.s32", "w=ww", {0xfffffff9, 2}, ALL32},
    {"rem.s64", "l=ll", {UINT64_C(1) << 63, ALL64}, 0},
    {"rem.u16", "h=hh", {65535, 10}, 5},
    {"abs.s32", "w=w", {0xfffffff9}, 7},
    {"neg.s64", "l=l", {1}, ALL64},
    {"min.s32", "w=ww", {ALL32, 1}, ALL32},
    {"min.u32", "w=ww", {ALL32, 1}, 1},
    {"max.s64", "l=ll", {ALL64, 1}, 1},
    {"max.u16", "h=hh", {0xffff, 1}, 0xffff},
    {"max.s16", "h=hh", {0xffff, 1}, 1},
    {"dp4a.s32.s32", "w=www", {0xff02fe01, 0x01020304, 10}, 10 + 4 - 6 + 4 - 1},
    {"dp2a.lo.u32.s32", "w=www", {0xfffe0003, 0x0000ff02, 7}, (uint32_t)(3 * 2 - 0xfffe + 7)},
    {"dp2a.hi.s32.u32", "w=www", {0xfffe0003, 0xff020000, 7}, (uint32_t)(3 * 2 - 2 * 255 + 7)},
    {"dp4a.u32.u32", "w=www", {0xff020301, 0x01020304, 0}, 255 + 4 + 9 + 4},
    /* logic and bits */
    {"and.b32", "w=ww", {0xff00ff00, 0x0ff00ff0}, 0x0f000f00},
    {"or.b64", "l=ll", {UINT64_C(1) << 63, 1}, UINT64_C(0x8000000000000001)},
    {"xor.b16", "h=hh", {0xffff, 0x0f0f}, 0xf0f0},
    {"not.b32", "w=w", {0}, ALL32},
    {"shl.b32", "w=ww", {1, 31}, 0x80000000},
    {"shl.b32", "w=ww", {1, 32}, 0},
    {"shl.b64", "l=lw", {1, 63}, UINT64_C(1) << 63},
    {"shl.b16", "h=hw", {0xffff, 15}, 0x8000},
    {"shr.s32", "w=ww", {0x80000000, 40}, ALL32},
    {"shr.u32", "w=ww", {0x80000000, 31}, 1},
    {"shr.s16", "h=hw", {0x8000, 3}, 0xf000},
    {"shr.u64", "l=lw", {ALL64, 64}, 0},
    {"shf.l.wrap.b32", "w=www", {0x80000000, 1, 33}, 3},
    {"shf.r.wrap.b32", "w=www", {2, 3, 1}, 0x80000001},
    {"shf.r.clamp.b32", "w=www", {2, 3, 99}, 3},
    {"shf.l.clamp.b32", "w=www", {2, 3, 99}, 2},
    {"bfe.u32", "w=www", {0xabcd1234, 8, 8}, 0x12},
    {"bfe.s32", "w=www", {0xabcd1234, 28, 8}, 0xfffffffa},
    {"bfe.s32", "w=www", {0x00000080, 7, 1}, ALL32},
    {"bfe.u64", "l=lww", {UINT64_C(0xabcd000000000000), 60, 4}, 0xa},
    {"bfi.b32", "w=wwww", {0xff, 0x12345678, 8, 8}, 0x1234ff78},
    {"bfi.b64", "l=llww", {1, 0, 63, 4}, UINT64_C(1) << 63},
    {"brev.b32", "w=w", {1}, 0x80000000},
    {"brev.b64", "l=l", {2}, UINT64_C(1) << 62},
    {"clz.b32", "w=w", {0}, 32},
    {"clz.b64", "w=l", {1}, 63},
    {"popc.b32", "w=w", {0xf0f0}, 8},
    {"bfind.u32", "w=w", {0}, ALL32},
    {"bfind.s32", "w=w", {0xfffffff0}, 3},
    {"bfind.shiftamt.u32", "w=w", {1}, 31},
    {"prmt.b32", "w=www", {0x33221100, 0x77665544, 0x7531}, 0x77553311},
    {"prmt.b32", "w=www", {0x80, 0, 0x8888}, ALL32},
    {"prmt.b32.b4e", "w=www", {0x33221100, 0x77665544, 1}, 0x66770011},
    /* f32 */
    /* operands of tensor cores */
    {"cvt.rna.tf32.f32", "w=w", {0x3f801000}, 0x3f802000},
    {"cvt.rna.tf32.f32", "w=w", {0x3f800fff}, ONE},
    {"cvt.rna.tf32.f32", "w=w", {0xbf803000}, 0xbf804000},
    {"cvt.rna.tf32.f32", "w=w", {INF}, INF},
    {"cvt.rna.tf32.f32", "w=w", {NAN32}, QNAN},
    {"cvt.rn.tf32.f32", "w=w", {0x3f801000}, ONE},
    {"cvt.rn.tf32.f32", "w=w", {0x3f803000}, 0x3f804000},
    {"cvt.rn.relu.tf32.f32", "w=w", {0xbf803000}, 0},
    {"cvt.rz.tf32.f32", "w=w", {0xbf803fff}, 0xbf802000},
    {"cvt.rn.satfinite.e4m3x2.f32", "h=ww", {ONE, 0xc0000000}, 0x38c0},
    {"cvt.rn.satfinite.e4m3x2.f32", "h=ww", {INF, 0xc6000000}, 0x7efe},
    {"cvt.rn.satfinite.e4m3x2.f32", "h=ww", {NAN32, 0x3b000000}, 0x7f01},
    {"cvt.rn.satfinite.e4m3x2.f32", "h=ww", {0x3f880000, 0x3f980000}, 0x383a},
    {"cvt.rn.satfinite.relu.e4m3x2.f32", "h=ww", {0xbf800000, ONE}, 0x0038},
    {"cvt.rn.satfinite.e5m2x2.f32", "h=ww", {ONE, 0xc7800000}, 0x3cfb},
    {"cvt.rn.satfinite.e5m2x2.f32", "h=ww", {0x37000000, 0x37800000}, 0x0001},
    {"cvt.rn.f16x2.e4m3x2", "w=h", {0x7e01}, 0x5f001800},
    {"cvt.rn.f16x2.e4m3x2", "w=h", {0x7fb8}, 0x7fffbc00},
    {"cvt.rn.relu.f16x2.e4m3x2", "w=h", {0x38b8}, 0x3c000000},
    {"cvt.rn.f16x2.e5m2x2", "w=h", {0x7b81}, 0x7b008100},
    {"cvt.rn.satfinite.e4m3x2.f16x2", "h=w", {0x3c00c000}, 0x38c0},
    {"cvt.rn.satfinite.e5m2x2.f16x2", "h=w", {0x7bffbc00}, 0x7bbc},
    {"add.f32", "w=ww", {ONE, ONE}, TWO},
    {"add.f32", "w=ww", {TINY, TINY}, 2},
    {"add.ftz.f32", "w=ww", {TINY, TINY}, 0},
    {"add.rz.f32", "w=ww", {ONE, 0x33ffffff}, ONE},
    {"add.rp.f32", "w=ww", {ONE, TINY}, ONE + 1},
    {"add.rm.f32", "w=ww", {ONE, 0x80000001}, ONE - 1},
    {"add.rn.sat.f32", "w=ww", {ONE, ONE}, ONE},
    {"add.sat.f32", "w=ww", {NAN32, ONE}, 0},
    {"sub.f32", "w=ww", {ONE, ONE}, 0},
    {"mul.f32", "w=ww", {TWO, HALF}, ONE},
    {"mul.rz.f32", "w=ww", {0x3fffffff, 0x3fffffff}, 0x407ffffe},
    {"fma.rn.f32", "w=www", {0x3f800001, 0x3f800001, 0xbf800002}, 0x28800000},
    {"fma.rz.f32", "w=www", {ONE, TINY, 0xbf800000}, 0xbf7fffff},
    {"div.rn.f32", "w=ww", {ONE, 0x40400000}, 0x3eaaaaab},
    {"div.rz.f32", "w=ww", {ONE, 0x40400000}, 0x3eaaaaaa},
    {"rcp.rn.f32", "w=w", {0x40400000}, 0x3eaaaaab},
    {"sqrt.rn.f32", "w=w", {TWO}, 0x3fb504f3},
    {"sqrt.rp.f32", "w=w", {TWO}, 0x3fb504f4},
    {"rsqrt.approx.f32", "w=w", {0x40800000}, HALF},
    {"ex2.approx.f32", "w=w", {0x41200000}, 0x44800000},
    {"ex2.approx.f32", "w=w", {0xc3160000}, 0},
    {"ex2.approx.f32", "w=w", {0x43000000}, INF},
    {"ex2.approx.f32", "w=w", {HALF}, 0x3fb504f3},
    {"ex2.approx.ftz.f32", "w=w", {0xc2fe0000}, 0},
    {"lg2.approx.f32", "w=w", {0x44800000}, 0x41200000},
    {"lg2.approx.f32", "w=w", {0}, 0xff800000},
    {"sin.approx.f32", "w=w", {ONE}, 0x3f576aa4},
    {"cos.approx.f32", "w=w", {0}, ONE},
    {"tanh.approx.f32", "w=w", {ONE}, 0x3f42f7d6},
    {"min.f32", "w=ww", {NAN32, ONE}, ONE},
    {"max.f32", "w=ww", {0x80000000, 0}, 0},
    {"min.f32", "w=ww", {0, 0x80000000}, 0x80000000},
    {"max.f32", "w=ww", {NAN32, NAN32}, QNAN},
    {"max.NaN.f32", "w=ww", {NAN32, ONE}, QNAN},
    {"abs.f32", "w=w", {0xbf800000}, ONE},
    {"neg.f32", "w=w", {ONE}, 0xbf800000},
    {"copysign.f32", "w=ww", {0x80000000, ONE}, 0xbf800000},
    {"testp.subnormal.f32", "p=w", {TINY}, 1},
    {"testp.finite.f32", "p=w", {INF}, 0},
    {"testp.notanumber.f32", "p=w", {NAN32}, 1},
    /* f64 */
    {"add.f64",
     "l=ll",
     {UINT64_C(0x3ff0000000000000), UINT64_C(0x3ff0000000000000)},
     UINT64_C(0x4000000000000000)},
    {"fma.rn.f64",
     "l=lll",
     {UINT64_C(0x3ff0000000000001), UINT64_C(0x3ff0000000000001), UINT64_C(0xbff0000000000002)},
     UINT64_C(0x3970000000000000)},
    {"div.rn.f64",
     "l=ll",
     {UINT64_C(0x3ff0000000000000), UINT64_C(0x4008000000000000)},
     UINT64_C(0x3fd5555555555555)},
    {"div.rp.f64",
     "l=ll",
     {UINT64_C(0x3ff0000000000000), UINT64_C(0x4008000000000000)},
     UINT64_C(0x3fd5555555555556)},
    {"sqrt.rn.f64", "l=l", {UINT64_C(0x4000000000000000)}, UINT64_C(0x3ff6a09e667f3bcd)},
    {"rcp.approx.ftz.f64", "l=l", {UINT64_C(0x4008000000000000)}, UINT64_C(0x3fd5555500000000)},
    /* f16, bf16 */
    {"add.f16", "h=hh", {0x3c00, 0x3c00}, 0x4000},
    {"mul.f16", "h=hh", {0x7bff, 0x4000}, 0x7c00},
    {"fma.rn.f16", "h=hhh", {0x3c01, 0x3c01, 0xbc02}, 0x0010},
    {"fma.rn.f16", "h=hhh", {0x4000, 0x0001, 0x3c00}, 0x3c00},
    {"add.f16x2", "w=ww", {0x3c004000, 0x40003c00}, 0x42004200},
    {"fma.rn.relu.f16", "h=hhh", {0x3c00, 0x3c00, 0xc000}, 0},
    {"max.bf16", "h=hh", {0x3f80, 0x7fc0}, 0x3f80},
    {"fma.rn.bf16", "h=hhh", {0x3f80, 0x3f80, 0x3f80}, 0x4000},
    {"add.bf16x2", "w=ww", {0x3f804000, 0x40003f80}, 0x40404040},
    {"neg.f16", "h=h", {0x3c00}, 0xbc00},
    {"ex2.approx.f16", "h=h", {0x4000}, 0x4400},
    /* conversions */
    {"cvt.s64.s32", "l=w", {ALL32}, ALL64},
    {"cvt.u64.u32", "l=w", {ALL32}, ALL32},
    {"cvt.u32.u64", "w=l", {UINT64_C(0x123456789)}, 0x23456789},
    {"cvt.s32.s8", "w=w", {0x1ff}, ALL32},
    {"cvt.u32.u8", "w=h", {0x1ff}, 0xff},
    {"cvt.s16.s8", "h=w", {0x80}, 0xff80},
    {"cvt.sat.s8.s32", "w=w", {0xffff0000}, 0xffffff80},
    {"cvt.sat.u8.s32", "w=w", {300}, 255},
    {"cvt.sat.u8.s32", "w=w", {ALL32}, 0},
    {"cvt.u16.u32", "h=w", {0x12345}, 0x2345},
    {"cvt.rni.s32.f32", "w=w", {0x40200000}, 2},
    {"cvt.rzi.s32.f32", "w=w", {0xc0200000}, 0xfffffffe},
    {"cvt.rmi.s32.f32", "w=w", {0xc0200000}, 0xfffffffd},
    {"cvt.rpi.s32.f32", "w=w", {0x40200000}, 3},
    {"cvt.rzi.s32.f32", "w=w", {0x4f000000}, 0x7fffffff},
    {"cvt.rzi.s32.f32", "w=w", {NAN32}, 0},
    {"cvt.rzi.u32.f32", "w=w", {0xbf800000}, 0},
    {"cvt.rzi.u32.f32", "w=w", {0x4f800000}, ALL32},
    {"cvt.rzi.s64.f32", "l=w", {0x5f800000}, UINT64_C(0x7fffffffffffffff)},
    {"cvt.rzi.s64.f32", "l=w", {NAN32}, UINT64_C(1) << 63},
    {"cvt.rzi.u64.f64", "l=l", {UINT64_C(0x43efffffffffffff)}, UINT64_C(0xfffffffffffff800)},
    {"cvt.rzi.s8.f32", "w=w", {0x43800000}, 127},
    {"cvt.rn.f32.s32", "w=w", {0x1000001}, 0x4b800000},
    {"cvt.rp.f32.s32", "w=w", {0x1000001}, 0x4b800001},
    {"cvt.rn.f32.u32", "w=w", {ALL32}, 0x4f800000},
    {"cvt.rn.f32.u64", "w=l", {ALL64}, 0x5f800000},
    {"cvt.rz.f32.u64", "w=l", {ALL64}, 0x5f7fffff},
    {"cvt.rn.f64.s32", "l=w", {ALL32}, UINT64_C(0xbff0000000000000)},
    {"cvt.rn.f32.s8", "w=h", {0xff}, 0xbf800000},
    {"cvt.rn.f16.s32", "h=w", {2049}, 0x6800},
    {"cvt.rn.f16.u64", "h=l", {ALL64}, 0x7c00},
    {"cvt.f64.f32", "l=w", {ONE}, UINT64_C(0x3ff0000000000000)},
    {"cvt.rn.f32.f64", "w=l", {UINT64_C(0x3ff0000010000000)}, ONE},
    {"cvt.rp.f32.f64", "w=l", {UINT64_C(0x3ff0000000000001)}, ONE + 1},
    {"cvt.rni.f32.f32", "w=w", {0x40200000}, TWO},
    {"cvt.rmi.f32.f32", "w=w", {0xbf000000}, 0xbf800000},
    {"cvt.rpi.ftz.f32.f32", "w=w", {TINY}, 0},
    {"cvt.sat.f32.f32", "w=w", {TWO}, ONE},
    {"cvt.f32.f16", "w=h", {0x0001}, 0x33800000},
    {"cvt.f32.f16", "w=h", {0x7c00}, INF},
    {"cvt.rn.f16.f32", "h=w", {0x477ff000}, 0x7c00},
    {"cvt.rn.f16.f32", "h=w", {0x477fefff}, 0x7bff},
    {"cvt.rn.f16.f32", "h=w", {0x33000000}, 0},
    {"cvt.rn.f16.f32", "h=w", {0x33000001}, 1},
    {"cvt.rn.f16.f32", "h=w", {NAN32}, 0x7fff},
    {"cvt.rz.f16.f32", "h=w", {0x7f7fffff}, 0x7bff},
    {"cvt.rp.f16.f32", "h=w", {0x3f800001}, 0x3c01},
    {"cvt.rn.f16.f64", "h=l", {UINT64_C(0x3ff0000000000000)}, 0x3c00},
    {"cvt.rn.bf16.f32", "h=w", {0x3f808000}, 0x3f80},
    {"cvt.rn.bf16.f32", "h=w", {0x3f818000}, 0x3f82},
    {"cvt.rz.bf16.f32", "h=w", {0x3f81ffff}, 0x3f81},
    {"cvt.f32.bf16", "w=h", {0x3f80}, ONE},
    {"cvt.rn.f16x2.f32", "w=ww", {ONE, TWO}, 0x3c004000},
    {"cvt.rn.bf16x2.f32", "w=ww", {ONE, TWO}, 0x3f804000},
    /* comparisons and choices */
    {"setp.lt.s32", "p=ww", {ALL32, 0}, 1},
    {"setp.lo.u32", "p=ww", {ALL32, 0}, 0},
    {"setp.eq.f32", "p=ww", {NAN32, NAN32}, 0},
    {"setp.neu.f32", "p=ww", {NAN32, NAN32}, 1},
    {"setp.ne.f32", "p=ww", {NAN32, ONE}, 0},
    {"setp.equ.f32", "p=ww", {NAN32, ONE}, 1},
    {"setp.ltu.f32", "p=ww", {TWO, ONE}, 0},
    {"setp.num.f32", "p=ww", {TWO, ONE}, 1},
    {"setp.nan.f32", "p=ww", {TWO, NAN32}, 1},
    {"setp.eq.ftz.f32", "p=ww", {TINY, 0}, 1},
    {"setp.ge.f64", "p=ll", {UINT64_C(0x3ff0000000000000), 0}, 1},
    {"setp.gt.s16", "p=hh", {0xffff, 0}, 0},
    {"setp.ge.u64", "p=ll", {ALL64, 1}, 1},
    {"setp.lt.f16", "p=hh", {0xbc00, 0x3c00}, 1},
    {"set.lt.u32.s32", "w=ww", {ALL32, 0}, ALL32},
    {"set.gt.f32.f32", "w=ww", {TWO, ONE}, ONE},
    {"slct.b32.s32", "w=www", {1, 2, ALL32}, 2},
    {"mov.b32", "w=w", {5}, 5},
};

static const char *letter_type(char c)
{
    return c == 'h' ? "b16" : c == 'w' ? "b32" : "b64";
}

/* A kernel (in, out, mask): lanes of mask run the case, the others store what they loaded first. */
static char *case_text(const struct form_case *c)
{
    static char text[4096];
    const char *sources = strchr(c->letters, '=') + 1;
    char dest = c->letters[0];
    int n =
        snprintf(text, sizeof text,
                 ".visible .entry k(.param .u64 in, .param .u64 out, .param .u32 mask)\n{\n"
                 ".reg .pred %%p<4>; .reg .b32 %%t<4>; .reg .b64 %%x<6>;\n"
                 ".reg .b16 %%h<6>; .reg .b32 %%w<6>; .reg .b64 %%l<6>;\n"
                 "ld.param.u64 %%x0, [in]; ld.param.u64 %%x1, [out]; ld.param.u32 %%t0, [mask];\n"
                 "mov.u32 %%t1, %%tid.x; shr.u32 %%t0, %%t0, %%t1; and.b32 %%t0, %%t0, 1;\n"
                 "setp.ne.u32 %%p0, %%t0, 0; setp.ne.u32 %%p1, 0, 0;\n"
                 "mul.wide.u32 %%x2, %%t1, 8; add.s64 %%x1, %%x1, %%x2;\n"
                 "mov.b64 %%l0, 77; mov.b32 %%w0, 77; mov.b16 %%h0, 77;\n");
    for (int i = 0; sources[i]; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n, "ld.global.%s %%%c%d, [%%x0+%d];\n",
                      letter_type(sources[i]), sources[i], i + 1, 8 * i);
    }
    n += snprintf(text + n, sizeof text - (size_t)n, "@%%p0 %s %%%c%d", c->op, dest,
                  dest == 'p' ? 1 : 0);
    for (int i = 0; sources[i]; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n, ", %%%c%d", sources[i], i + 1);
    }
    n += snprintf(text + n, sizeof text - (size_t)n, ";\n");
    if (dest == 'p') {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "@!%%p0 bra done;\nselp.b32 %%w0, 1, 0, %%p1;\ndone:\n");
        dest = 'w';
    }
    const char *widen = dest == 'h' ? "cvt.u64.u16" : dest == 'w' ? "cvt.u64.u32" : "mov.b64";
    snprintf(text + n, sizeof text - (size_t)n,
             "%s %%x3, %%%c0;\nst.global.u64 [%%x1], %%x3;\nret;\n}\n", widen, dest);
    return text;
}

static void every_form_computes_its_cases(void **state)
{
    (void)state;
    device_start(0, 1);
    CUdeviceptr out = device_new(32 * 8);
    int bad = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct form_case *c = &cases[i];
        CUmodule m = device_module(case_text(c));
        CUdeviceptr in = device_put(c->in, sizeof c->in);
        static const uint32_t masks[] = {UINT32_MAX, 0x80010420};
        for (int k = 0; k < 2; k++) {
            uint32_t mask = masks[k];
            uint64_t got[32];
            void *params[] = {&in, &out, &mask};
            device_run(device_function(m, "k"), (struct shape){1, 32, 0}, params);
            device_get(got, out, sizeof got);
            for (int lane = 0; lane < 32; lane++) {
                uint64_t want = mask >> lane & 1 ? c->out : 77;
                if (got[lane] != want) {
                    print_error("%s, mask %08" PRIx32 ", lane %d: 0x%" PRIx64 ", not 0x%" PRIx64
                                "\n",
                                c->op, mask, lane, got[lane], want);
                    bad++;
                    break;
                }
            }
        }
        cuMemFree_v2(in);
        cuModuleUnload(m);
    }
    assert_int_equal(bad, 0);
}

static void an_unknown_form_is_named(void **state)
{
    (void)state;
    static const char *const unknown[] = {"add.s33",         "add.s32.x", "add",
                                          "mul.hi.f32",      "addx.u32",  "setp.lt.foo.s32",
                                          "ld.global.v3.f32"};
    device_start(0, 1);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "%s.visible .entry k()\n{\n.reg .b32 %%r<4>;\n%s %%r1, %%r2, %%r3;\nret;\n}\n",
                 PTX_HEADER, unknown[i]);
        CUmodule m;
        assert_int_equal(cuModuleLoadData(&m, text), CUDA_ERROR_INVALID_PTX);
        assert_non_null(strstr(gpucc_emu_last_error(), unknown[i]));
        assert_non_null(strstr(gpucc_emu_last_error(), "unknown instruction form"));
        assert_non_null(strstr(gpucc_emu_last_error(), "line 7"));
    }
}

static void a_form_newer_than_the_target_is_refused(void **state)
{
    (void)state;
    device_start(0, 1);
    CUmodule m;
    const char *text = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k()\n{\n"
                       ".reg .f32 %f<4>;\nmax.NaN.f32 %f1, %f2, %f3;\nret;\n}\n";
    assert_int_equal(cuModuleLoadData(&m, text), CUDA_ERROR_INVALID_PTX);
    assert_non_null(strstr(gpucc_emu_last_error(), "sm_80"));
}

static void no_form_is_in_the_table_twice(void **state)
{
    (void)state;
    for (size_t i = 0; gpucc_emu_form(i); i++) {
        for (size_t j = 0; j < i; j++) {
            if (!strcmp(gpucc_emu_form(i)->name, gpucc_emu_form(j)->name)) {
                fail_msg("%s is there twice", gpucc_emu_form(i)->name);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_computes_its_cases),
        cmocka_unit_test(an_unknown_form_is_named),
        cmocka_unit_test(a_form_newer_than_the_target_is_refused),
        cmocka_unit_test(no_form_is_in_the_table_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
