/*
 * Tensor cores by mma.sync: instructions, and how a tile of an operand lies in shared memory.
 *
 * The generator prints before this file
 *   ELEMENT         bytes of an operand's element
 *   MMA_SHAPE       the instruction's depth in bytes: 32, or 16 where the target has half of it
 *   MMA             the instruction but for its operands
 *   UNPACK_A, UNPACK_B    where the target multiplies bytes of floats as halves: what two of them are
 *   SUM             what sums are kept in: float or int
 *   ROUND           0: operands as they are; 1: f32 rounded to tf32; 2: f32 split into two tf32, of
 *                   which three products are added (the fourth is below f32's accuracy)
 * Whatever the type, one step multiplies 32 bytes of depth.
 */
typedef unsigned int u32;

/* --- Copies that pass by the registers ------------------------------------------------------- */

/* Where bit is 0, zeros are written and nothing is read. The test stays in here: outside, the
 * compiler would make shifts of it. */
template <int BYTES>
static __device__ __forceinline__ void copy_async(u32 to, const void *from, u32 bit)
{
    if (BYTES == 16)
        asm volatile("{\n"
                     "    .reg .pred p;\n"
                     "    .reg .b32 n;\n"
                     "    setp.ne.u32 p, %2, 0;\n"
                     "    selp.b32 n, 16, 0, p;\n"
                     "    cp.async.cg.shared.global [%0], [%1], 16, n;\n"
                     "}" ::"r"(to),
                     "l"(from), "r"(bit));
    else
        asm volatile("{\n"
                     "    .reg .pred p;\n"
                     "    .reg .b32 n;\n"
                     "    setp.ne.u32 p, %2, 0;\n"
                     "    selp.b32 n, %3, 0, p;\n"
                     "    cp.async.ca.shared.global [%0], [%1], %3, n;\n"
                     "}" ::"r"(to),
                     "l"(from), "r"(bit), "n"(BYTES));
}

static __device__ __forceinline__ void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most N of this thread's groups are under way. */
template <int N> static __device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* --- Tiles in shared memory ------------------------------------------------------------------ */

/*
 * EXTENT rows of an operand, DEPTH_BYTES of each. ALONG_K: a line is a row. Otherwise a line is one
 * k of a panel of rows, and panels follow one another. Lines are made of 16-byte chunks, whose
 * order within 128 bytes is turned by an xor, so that the same chunk of 8 lines lies in all banks.
 */
template <int EXTENT, int DEPTH_BYTES, bool ALONG_K> struct shared_tile {
    static constexpr int bytes = EXTENT * DEPTH_BYTES;
    static constexpr int depth = DEPTH_BYTES / ELEMENT;
    static constexpr int panel = EXTENT * ELEMENT < 128 ? EXTENT : 128 / ELEMENT; /* rows */
    static constexpr int pitch = ALONG_K ? DEPTH_BYTES : panel * ELEMENT;         /* of lines */
    static constexpr int chunks = pitch / 16;
    static constexpr int lines = bytes / pitch;

    static __device__ __forceinline__ int turn(int line)
    {
        return line / (8 / chunks) % chunks;
    }
    static __device__ __forceinline__ u32 place(int line, int chunk)
    {
        return line * pitch + (chunk ^ turn(line)) * 16;
    }
    /* What the first element of a chunk is. */
    static __device__ __forceinline__ int row(int line, int chunk)
    {
        return ALONG_K ? line : line / depth * panel + chunk * (16 / ELEMENT);
    }
    static __device__ __forceinline__ int k(int line, int chunk)
    {
        return ALONG_K ? chunk * (16 / ELEMENT) : line % depth;
    }
};

/* --- Fragments ------------------------------------------------------------------------------- */

static __device__ __forceinline__ void load_matrices(u32 *to, u32 from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

static __device__ __forceinline__ void load_matrices_transposed(u32 *to, u32 from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

static __device__ __forceinline__ void load_two_matrices(u32 *to, u32 from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(from)
                 : "memory");
}

static __device__ __forceinline__ void load_two_matrices_transposed(u32 *to, u32 from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(from)
                 : "memory");
}

/*
 * A warp's rows of an operand as the instruction wants them: COUNT groups of 16 rows, 4 registers
 * each. FIRST: the left operand, whose registers go down the rows first; the right one's go along k
 * first. Its address is one register and a constant: of a line's chunks only those of a step differ
 * by more than a constant (ALONG_K), or those of a group.
 */
template <class TILE, int ROWS, bool ALONG_K, bool FIRST> struct fragments {
    static constexpr int groups = (ROWS + 15) / 16;
    static constexpr int steps = TILE::depth * ELEMENT / 32;
    static constexpr int places = ALONG_K ? steps : groups;

    u32 from[places];

    /* base: of the tile in shared memory; first: the warp's first row in it. */
    __device__ __forceinline__ void begin(u32 base, int first)
    {
        const int lane = threadIdx.x % 32, low = lane & 7, mid = lane >> 3 & 1, high = lane >> 4;
        const int down = FIRST ? mid : high, deep = FIRST ? high : mid;
        const u32 at =
            ALONG_K ? TILE::place(first + low + down * 8, deep)
                    : TILE::place(first / TILE::panel * TILE::depth + low + deep * 8,
                                  first % TILE::panel * ELEMENT / 16 + down);
#pragma unroll
        for (int i = 0; i < places; i++)
            from[i] = base + (at ^ (i * 32));
    }

    /* to: 4 registers a group; stage: which of the tiles, in bytes. */
    __device__ __forceinline__ void load(u32 *to, u32 stage, int step) const
    {
#pragma unroll
        for (int i = 0; i < groups; i++) {
            const u32 at = stage + (ALONG_K ? from[step] + i * 16 * TILE::pitch
                                            : from[i] + step * (32 / ELEMENT) * TILE::pitch);
            if (ROWS < 16 && ALONG_K)
                load_two_matrices(to, at);
            else if (ROWS < 16)
                load_two_matrices_transposed(to, at);
            else if (ALONG_K)
                load_matrices(to + 4 * i, at);
            else
                load_matrices_transposed(to + 4 * i, at);
        }
    }
};

/* --- Products -------------------------------------------------------------------------------- */

#ifdef UNPACK_A
/* The four bytes of a register as halves. */
#define UNPACK(type, from, low, high)                                                              \
    asm("{\n"                                                                                      \
        "    .reg .b16 l, h;\n"                                                                    \
        "    mov.b32 {l, h}, %2;\n"                                                                \
        "    cvt.rn.f16x2." type " %0, l;\n"                                                       \
        "    cvt.rn.f16x2." type " %1, h;\n"                                                       \
        "}"                                                                                        \
        : "=r"(low), "=r"(high)                                                                    \
        : "r"(from))

/* Two instructions for f16, each 16 bytes deep: which k a place stands for is the same in both
 * operands, and all that matters. */
static __device__ __forceinline__ void mma(float *c, const u32 *a, const u32 *b)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        u32 x[4], y[2];
        UNPACK(UNPACK_A, a[2 * i], x[0], x[2]);
        UNPACK(UNPACK_A, a[2 * i + 1], x[1], x[3]);
        UNPACK(UNPACK_B, b[i], y[0], y[1]);
        asm volatile(MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    }
}
#elif MMA_SHAPE == 32
static __device__ __forceinline__ void mma(float *c, const u32 *a, const u32 *b)
{
    asm volatile(MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ void mma(int *c, const u32 *a, const u32 *b)
{
    asm volatile(MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
/* 16 rows, 16 bytes deep. */
static __device__ __forceinline__ void mma(float *c, const u32 *a, const u32 *b)
{
#pragma unroll
    for (int half = 0; half < 2; half++)
        asm volatile(MMA " {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
}

/* 8 rows, 16 bytes deep. */
static __device__ __forceinline__ void mma(int *c, const u32 *a, const u32 *b)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        asm volatile(MMA " {%0, %1}, {%2}, {%3}, {%0, %1};"
                     : "+r"(c[i % 2 * 2]), "+r"(c[i % 2 * 2 + 1])
                     : "r"(a[i]), "r"(b[i / 2]));
}
#endif

static __device__ __forceinline__ u32 to_tf32(float a)
{
    u32 b;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(b) : "f"(a));
    return b;
}

/* N registers rounded, and with ROUND == 2 what rounding took away, rounded as well. */
template <int N> static __device__ __forceinline__ void round_tf32(u32 *high, u32 *low)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float a = __uint_as_float(high[i]);
        high[i] = to_tf32(a);
        if (ROUND == 2)
            low[i] = to_tf32(a - __uint_as_float(high[i]));
    }
}

/* What is to be done to fragments while the ones before are multiplied. */
template <int N> static __device__ __forceinline__ void prepare(u32 *fragments)
{
    if (ROUND == 1)
        round_tf32<N>(fragments, nullptr);
}

/* sum += a * b, where `low` is what rounding took from a and b. The tensor cores cut off what does not
 * fit into a sum, always towards 0, and thousands of such losses add up to fifty times f32's error. So
 * they sum a step alone, and what is added to what came before is rounded. */
static __device__ __forceinline__ void mma_of_split(SUM *sum, const u32 *a, const u32 *low_a,
                                                    const u32 *b, const u32 *low_b)
{
    SUM step[4] = {0, 0, 0, 0};
    mma(step, low_a, b);
    mma(step, a, low_b);
    mma(step, a, b);
#pragma unroll
    for (int e = 0; e < 4; e++)
        sum[e] += step[e];
}

/* One step of a warp's tile: sums of GROUPS times 16 rows and COLUMNS times 8 columns. Neighbouring
 * products share an operand's register. */
template <int GROUPS, int COLUMNS>
static __device__ __forceinline__ void multiply(SUM (*sum)[COLUMNS][4], u32 *a, u32 *b)
{
    u32 low_a[4], low_b[ROUND == 2 ? 2 * COLUMNS : 1];
    if (ROUND == 2)
        round_tf32<2 * COLUMNS>(b, low_b);
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        if (ROUND == 2)
            round_tf32<4>(a + 4 * i, low_a);
#pragma unroll
        for (int way = 0; way < COLUMNS; way++) {
            const int j = i % 2 ? COLUMNS - 1 - way : way;
            if (ROUND == 2)
                mma_of_split(sum[i][j], a + 4 * i, low_a, b + 2 * j, low_b + 2 * j);
            else
                mma(sum[i][j], a + 4 * i, b + 2 * j);
        }
    }
}
