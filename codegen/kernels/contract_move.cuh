/*
 * How operands come into shared memory. A mover has
 *   begin(base, batch, row, k)    base: its tile of stage 0; row and k: the first of its first tile
 *   fetch(stage, exists)          a tile, if it exists, else zeros
 *   advance()                     to the next tile along K
 *   put(stage)                    the tile fetched last, once its stage may be written
 *
 * SIDE describes an operand:
 *   tile, type                    shared_tile<…> and the type of elements
 *   along_k                       what is contiguous in memory: K or the rows
 *   copy                          bytes copied at once: 16, 8 or 4
 *   linear                        row i lies i * row_stride elements behind row 0
 *   guard_rows, guard_k           tiles stick out there
 *   origin(ARGS)                  element 0 of the operand
 *   row_stride(ARGS), k_stride(ARGS)
 *   row(ARGS, batch, row)         offset of element (row, 0); for rows that exist, unless linear
 *   rows(ARGS), depth(ARGS)       extents
 *   piece                         elements loaded at once, a chunk or a part of it along K
 *   load(ARGS, batch, row, k, to) elements of a piece, as numbers; 0 for what does not exist
 *
 * HELD: the target has no copies that pass by the registers.
 *
 * Every thread moves one chunk of a line, and the same chunk of every so many lines after it.
 */
template <class SIDE> struct share {
    typedef typename SIDE::tile tile;
    /* Lines that all threads move at once. */
    static constexpr int per_pass = THREADS / tile::chunks;
    static constexpr int passes = (tile::lines + per_pass - 1) / per_pass;
    static constexpr bool whole = tile::lines % per_pass == 0;

    static __device__ __forceinline__ int chunk() { return threadIdx.x % tile::chunks; }
    static __device__ __forceinline__ int line(int pass)
    {
        return threadIdx.x / tile::chunks + pass * per_pass;
    }
    static __device__ __forceinline__ bool exists(int pass)
    {
        return whole || line(pass) < tile::lines;
    }
    /* From the place of pass 0 to that of another one: the turns of lines that are so far apart
     * differ by a constant, since both are powers of 2. */
    static __device__ __forceinline__ u32 place(u32 first, int pass)
    {
        return (first ^ (tile::turn(pass * per_pass) * 16)) + pass * per_pass * tile::pitch;
    }
};

/* BYTES of memory, or zeros, on their way through registers. */
template <int BYTES> struct piece {
    vec<u32, BYTES / 4> held;

    __device__ __forceinline__ void fetch(const void *from, u32 bit)
    {
        held = vec<u32, BYTES / 4>{};
        if (bit)
            held = load<BYTES / 4>((const u32 *)from);
    }
    __device__ __forceinline__ void put(u32 to) const
    {
        if constexpr (BYTES == 16)
            asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(held.at[0]),
                         "r"(held.at[1]), "r"(held.at[2]), "r"(held.at[3])
                         : "memory");
        else
#pragma unroll
            for (int i = 0; i < BYTES / 4; i++)
                asm volatile("st.shared.b32 [%0], %1;" ::"r"(to + 4 * i), "r"(held.at[i]) : "memory");
    }
};

/* By copies that pass by the registers; HELD: through them, where the target has no such copies. */
template <class SIDE> struct copied {
    typedef share<SIDE> part;
    static constexpr bool early = false;
    typedef typename SIDE::tile tile;
    typedef typename SIDE::type type;

    const type *next;
    u32 to, inside;                                 /* bit i: the row of pass i exists */
    idx_t k;                                        /* of this thread's chunk of pass 0 */
    idx_t offset[SIDE::linear ? 1 : part::passes];  /* of passes from next */
    static constexpr int pieces = 16 / SIDE::copy;
    piece<SIDE::copy> held[HELD ? part::passes * pieces : 1];

    __device__ __forceinline__ void begin(PARAMS, u32 base, idx_t batch, idx_t row, idx_t first_k)
    {
        const int line = part::line(0), chunk = part::chunk();
        to = base + tile::place(line, chunk);
        k = first_k + tile::k(line, chunk);
        next = SIDE::origin(ARGS) + (SIDE::along_k ? k : k * SIDE::k_stride(ARGS));
        if (SIDE::linear)
            next += SIDE::row(ARGS, batch, row + tile::row(line, chunk));
        inside = 0;
#pragma unroll
        for (int i = 0; i < part::passes; i++) {
            const idx_t at = row + tile::row(part::line(i), chunk);
            const bool there = !SIDE::guard_rows || at < SIDE::rows(ARGS);
            inside |= (u32)there << i;
            if (!SIDE::linear)
                offset[i] = SIDE::row(ARGS, batch, there ? at : 0) + further_k(ARGS, i);
        }
    }

    /* How much further along K pass i is than pass 0. */
    static __device__ __forceinline__ idx_t deeper(int i)
    {
        return SIDE::along_k ? 0
               : part::per_pass <= tile::depth
                   ? i * part::per_pass % tile::depth
                   : part::line(i) % tile::depth - part::line(0) % tile::depth;
    }
    static __device__ __forceinline__ idx_t further_k(PARAMS, int i)
    {
        return SIDE::along_k ? 0 : deeper(i) * SIDE::k_stride(ARGS);
    }

    __device__ __forceinline__ idx_t further(PARAMS, int i) const
    {
        if (!SIDE::linear)
            return offset[i];
        const idx_t rows = SIDE::along_k ? i * part::per_pass
                           : part::per_pass <= tile::depth
                               ? i * part::per_pass / tile::depth * tile::panel
                               : (part::line(i) / tile::depth - part::line(0) / tile::depth) *
                                     tile::panel;
        return rows * SIDE::row_stride(ARGS) + further_k(ARGS, i);
    }

    __device__ __forceinline__ void fetch(PARAMS, u32 stage, bool exists)
    {
        constexpr int wide = SIDE::copy / ELEMENT;
        const idx_t depth = SIDE::depth(ARGS);
        const u32 rows = !SIDE::guard_rows ? (exists ? ~0u : 0) : exists ? inside : 0;
#pragma unroll
        for (int p = 0; p < pieces; p++) {
            const bool deep = SIDE::along_k && SIDE::guard_k && k + p * wide >= depth;
            const u32 mask = deep ? 0 : rows;
#pragma unroll
            for (int i = 0; i < part::passes; i++) {
                const bool there = SIDE::along_k || !SIDE::guard_k || k + deeper(i) < depth;
                const u32 bit = SIDE::guard_rows ? mask & 1u << i : mask;
                const type *from = next + further(ARGS, i) + p * wide;
                if (!part::exists(i))
                    continue;
                if constexpr (HELD)
                    held[i * pieces + p].fetch(from, there ? bit : 0);
                else
                    copy_async<SIDE::copy>(part::place(to, i) + stage + p * SIDE::copy, from,
                                           there ? bit : 0);
            }
        }
    }

    __device__ __forceinline__ void advance(PARAMS)
    {
        k += tile::depth;
        next += SIDE::along_k ? tile::depth : tile::depth * SIDE::k_stride(ARGS);
    }

    __device__ __forceinline__ void put(u32 stage) const
    {
#pragma unroll
        for (int i = 0; HELD && i < part::passes * pieces; i++)
            if (part::exists(i / pieces))
                held[i].put(part::place(to, i / pieces) + stage + i % pieces * SIDE::copy);
    }
};

/* An element as the low bits of a register. */
template <class T> static __device__ __forceinline__ u32 bits_of(T a)
{
    if constexpr (sizeof(T) == 4)
        return g_bits<u32>(a);
    else if constexpr (sizeof(T) == 2)
        return g_bits<unsigned short>(a);
    else
        return g_bits<unsigned char>(a);
}

/* Through registers: computed by the kernel, of another type in memory, or not in whole pieces. */
template <class SIDE> struct carried {
    typedef share<SIDE> part;
    static constexpr bool early = true; /* its code is long: not for a loop that unrolls */
    typedef typename SIDE::tile tile;
    typedef typename SIDE::type type;
    typedef vec<type, 16 / ELEMENT> chunk;

    idx_t my_batch, first_row, k;
    u32 base;
    chunk held[part::passes];

    /* Elements that are wider in memory come in pieces, so that one load of a warp takes whole
     * sectors: piece j of all threads are other lines. */
    static constexpr int pieces = 16 / ELEMENT / SIDE::piece, words = 4 / pieces;
    static constexpr bool straight = SIDE::along_k == SIDE::tile_along_k;
    static_assert(pieces == 1 || straight, "pieces lie along memory");

    /* Which line and chunk: neighbours in memory go to neighbouring threads. */
    static __device__ __forceinline__ int line(int i, int j)
    {
        return straight ? (threadIdx.x + j * THREADS) / (tile::chunks * pieces) + i * part::per_pass
                        : (threadIdx.x + i * THREADS) % tile::lines;
    }
    static __device__ __forceinline__ int at_chunk(int i)
    {
        return straight ? threadIdx.x / pieces % tile::chunks
                        : (threadIdx.x + i * THREADS) / tile::lines;
    }
    static __device__ __forceinline__ int at_piece() { return threadIdx.x % pieces; }
    static __device__ __forceinline__ bool exists(int i, int j)
    {
        return part::whole || (straight ? line(i, j) : part::line(i)) < tile::lines;
    }

    __device__ __forceinline__ void begin(PARAMS, u32 tile_base, idx_t batch, idx_t row,
                                          idx_t first_k)
    {
        base = tile_base;
        my_batch = batch;
        first_row = row;
        k = first_k;
    }

    __device__ __forceinline__ void fetch(PARAMS, u32, bool there)
    {
#pragma unroll
        for (int i = 0; i < part::passes; i++) {
            held[i] = chunk{};
#pragma unroll
            for (int j = 0; j < pieces; j++)
                if (there && exists(i, j))
                    SIDE::load(ARGS, my_batch, first_row + tile::row(line(i, j), at_chunk(i)),
                               k + tile::k(line(i, j), at_chunk(i)) + at_piece() * SIDE::piece,
                               held[i].at + j * SIDE::piece);
        }
    }

    __device__ __forceinline__ void advance(PARAMS) { k += tile::depth; }

    /* 4 bytes of chunk i, put together by shifts: elements that were written under conditions would
     * go through local memory to be read as one word. */
    __device__ __forceinline__ u32 word(int i, int n) const
    {
        const type *from = held[i].at + n * (4 / ELEMENT);
        if (ELEMENT == 4)
            return bits_of(from[0]);
        if (ELEMENT == 2)
            return bits_of(from[0]) | bits_of(from[1]) << 16;
        return bits_of(from[0]) | bits_of(from[1]) << 8 | bits_of(from[2]) << 16 |
               bits_of(from[3]) << 24;
    }

    /* Words of a piece from the n-th of chunk i on. */
    __device__ __forceinline__ void put_words(u32 to, int i, int n) const
    {
        if constexpr (words == 4)
            asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(word(i, 0)),
                         "r"(word(i, 1)), "r"(word(i, 2)), "r"(word(i, 3))
                         : "memory");
        else if constexpr (words == 2)
            asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(to), "r"(word(i, n)),
                         "r"(word(i, n + 1))
                         : "memory");
        else
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(word(i, n)) : "memory");
    }

    __device__ __forceinline__ void put(u32 stage) const
    {
#pragma unroll
        for (int i = 0; i < part::passes; i++)
#pragma unroll
            for (int j = 0; j < pieces; j++)
                if (exists(i, j))
                    put_words(base + stage + tile::place(line(i, j), at_chunk(i)) +
                                  at_piece() * words * 4,
                              i, j * words);
    }
};
