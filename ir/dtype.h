/*
 * Element types. The codes are ONNX's TensorProto.DataType numbers, which the plan format and the
 * runtime's public header use as well, so that no translation table exists anywhere.
 */
#ifndef GPUCC_IR_DTYPE_H
#define GPUCC_IR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Here for the compiler, in plan_format.h for the runtime, in machine.h for the emulator. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors lie in memory as in ONNX's files: a little-endian host is needed"
#endif

/*      name     code  text        bits  class      (class: F float, S signed, U unsigned, B bool,
 *                                                    O opaque: storage only, T string)          */
#define DTYPES(X)                                                                                  \
    X(F32, 1, "f32", 32, F)                                                                        \
    X(U8, 2, "u8", 8, U)                                                                           \
    X(I8, 3, "i8", 8, S)                                                                           \
    X(U16, 4, "u16", 16, U)                                                                        \
    X(I16, 5, "i16", 16, S)                                                                        \
    X(I32, 6, "i32", 32, S)                                                                        \
    X(I64, 7, "i64", 64, S)                                                                        \
    X(STRING, 8, "string", 0, T)                                                                   \
    X(BOOL, 9, "bool", 8, B)                                                                       \
    X(F16, 10, "f16", 16, F)                                                                       \
    X(F64, 11, "f64", 64, F)                                                                       \
    X(U32, 12, "u32", 32, U)                                                                       \
    X(U64, 13, "u64", 64, U)                                                                       \
    X(C64, 14, "c64", 64, O)                                                                       \
    X(C128, 15, "c128", 128, O)                                                                    \
    X(BF16, 16, "bf16", 16, F)                                                                     \
    X(F8E4M3FN, 17, "f8e4m3fn", 8, F)                                                              \
    X(F8E4M3FNUZ, 18, "f8e4m3fnuz", 8, F)                                                          \
    X(F8E5M2, 19, "f8e5m2", 8, F)                                                                  \
    X(F8E5M2FNUZ, 20, "f8e5m2fnuz", 8, F)                                                          \
    X(U4, 21, "u4", 4, U)                                                                          \
    X(I4, 22, "i4", 4, S)                                                                          \
    X(F4E2M1, 23, "f4e2m1", 4, F)                                                                  \
    X(F8E8M0, 24, "f8e8m0", 8, F)                                                                  \
    X(U2, 25, "u2", 2, U)                                                                          \
    X(I2, 26, "i2", 2, S)

enum dtype {
    DT_NONE = 0,
#define X(name, code, text, bits, cls) DT_##name = code,
    DTYPES(X)
#undef X
    DT_COUNT = 27,
    /*
     * Lists of tensors: DT_SEQUENCE + element type, and so on. A value of such a type has rank 0 and
     * no bytes: it stands for a list that the host keeps. These codes are not ONNX's.
     */
    DT_SEQUENCE = 32,           /* any number of elements */
    DT_OPTIONAL = 64,           /* one or none */
    DT_OPTIONAL_SEQUENCE = 96,  /* a sequence, or none */
    DT_END = 128
};

enum dtype_class { DC_NONE, DC_F, DC_S, DC_U, DC_B, DC_O, DC_T, DC_LIST };

struct dtype_info {
    const char *text;       /* spelling in the text IR: "f32" */
    int bits;               /* bits an element has in an ONNX tensor's raw_data; 0: none */
    enum dtype_class cls;
};

extern const struct dtype_info dtype_info[DT_END];

/* Bytes one element takes in a buffer: sub-byte types take one (design decision 13). */
size_t dtype_size(enum dtype type);

bool dtype_is_float(enum dtype type);
bool dtype_is_int(enum dtype type); /* signed or unsigned; not bool */
bool dtype_can_be_size(enum dtype type); /* elements may be sizes: bool, integers of whole bytes */
bool dtype_is_list(enum dtype type);
/* Of a list: the type of its elements, and DT_SEQUENCE, DT_OPTIONAL or DT_OPTIONAL_SEQUENCE. */
enum dtype dtype_element(enum dtype list);
enum dtype dtype_list_kind(enum dtype list);

/* The type called text (length bytes), or DT_NONE. */
enum dtype dtype_parse(const char *text, size_t length);

#endif
