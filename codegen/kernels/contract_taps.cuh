/*
 * A mover (see contract_move.cuh) for a convolution's image whose channels are contiguous: rows are
 * output pixels, and k counts channels of taps.
 *
 * A row keeps one offset, of its first tap, which may lie outside the image; what k adds is the
 * same for all rows. Which rows' taps are inside is known from the start, as one bit for each row
 * and each tap along an axis: whether to copy is then an AND of shifted words and a bit test.
 *
 * SIDE has besides
 *   axes, channels, padded        padded: taps can lie outside the image
 *   taps(x), dilation(x)          along spatial axis x
 *   tap_stride(ARGS, x), extent(ARGS, x)
 *   first_tap(ARGS, batch, row, at)    its offset, and its position along each axis
 *   margin(ARGS)                  how far outside the image that offset can be
 */
typedef unsigned long long u64;

template <class SIDE> struct tapped {
    typedef share<SIDE> part;
    static constexpr bool early = false;
    typedef typename SIDE::tile tile;
    typedef typename SIDE::type type;
    static_assert(part::passes <= 8, "a byte of the masks has 8 bits");
    /* All of a tile's depth belongs to one tap. */
    static constexpr bool one_tap = SIDE::channels % tile::depth == 0;

    const type *image, *from;
    u32 mask;                   /* of rows, for this tile */
    u32 to, rows;               /* bit i: the row of pass i exists */
    u64 inside[SIDE::axes];     /* bit 8 * tap + i: along an axis, this tap is inside */
    idx_t offset[part::passes]; /* not negative */
    /* Of the next tile, or of this thread's chunk of it: the channel, 8 * tap along each axis, and
     * how far it is from the first tap's channel 0. */
    idx_t channel, at;
    u32 tap[SIDE::axes];
    idx_t k;
    piece<16> held[HELD ? part::passes : 1];

    __device__ __forceinline__ void begin(PARAMS, u32 base, idx_t batch, idx_t row, idx_t first_k)
    {
        const int line = part::line(0), own = tile::k(line, part::chunk());
        to = base + tile::place(line, part::chunk());
        image = SIDE::origin(ARGS) + (one_tap ? own : 0) - SIDE::margin(ARGS);
        rows = 0;
#pragma unroll
        for (int x = 0; x < SIDE::axes; x++)
            inside[x] = 0;
#pragma unroll
        for (int i = 0; i < part::passes; i++) {
            const idx_t at = row + part::line(i);
            const bool there = !SIDE::guard_rows || at < SIDE::rows(ARGS);
            idx_t position[SIDE::axes];
            offset[i] = SIDE::first_tap(ARGS, batch, there ? at : 0, position) + SIDE::margin(ARGS);
            rows |= (u32)there << i;
#pragma unroll
            for (int x = 0; x < SIDE::axes; x++)
#pragma unroll
                for (int t = 0; t < SIDE::taps(x); t++) {
                    const idx_t p = position[x] + t * SIDE::dilation(x);
                    inside[x] |= (u64)(there && p >= 0 && p < SIDE::extent(ARGS, x)) << (8 * t + i);
                }
        }
        k = first_k + (one_tap ? 0 : own);
        find_tap(ARGS);
        aim(ARGS);
    }

    static __device__ __forceinline__ u64 widened(idx_t at)
    {
        return sizeof(idx_t) == 4 ? (u64)(u32)at : (u64)at;
    }

    __device__ __forceinline__ void find_tap(PARAMS)
    {
        idx_t number = k / SIDE::channels;
        at = channel = k % SIDE::channels;
#pragma unroll
        for (int x = SIDE::axes - 1; x >= 0; x--) {
            const idx_t own = x > 0 ? number % SIDE::taps(x) : number;
            at += own * SIDE::tap_stride(ARGS, x);
            tap[x] = 8 * (u32)own;
            number /= SIDE::taps(x);
        }
    }

    /* Shifted as far as it may be: to 0 by 64 and more, where C leaves the result open. */
    static __device__ __forceinline__ u32 shifted(u64 bits, u32 by)
    {
        u64 low;
        asm("shr.u64 %0, %1, %2;" : "=l"(low) : "l"(bits), "r"(by));
        return (u32)low;
    }

    /* What the rows share of this tile: where it is, and whose tap is inside. */
    __device__ __forceinline__ void aim(PARAMS)
    {
        mask = !SIDE::guard_k || one_tap || k < SIDE::depth(ARGS) ? rows : 0;
        if (SIDE::padded)
#pragma unroll
            for (int x = 0; x < SIDE::axes; x++)
                mask &= shifted(inside[x], tap[x]);
        from = image + widened(at);
        /* The sum is made here, once for all rows. */
        asm volatile("" : "+l"(from), "+r"(mask));
    }

    __device__ __forceinline__ void advance(PARAMS)
    {
        k += tile::depth;
        if (one_tap)
            step(ARGS);
        else
            find_tap(ARGS);
        aim(ARGS);
    }

    __device__ __forceinline__ void step(PARAMS)
    {
        channel += tile::depth;
        at += tile::depth;
        if (channel < SIDE::channels)
            return;
        channel = 0;
        at += SIDE::tap_stride(ARGS, SIDE::axes - 1) - SIDE::channels;
        tap[SIDE::axes - 1] += 8;
#pragma unroll
        for (int x = SIDE::axes - 1; x > 0; x--)
            if (tap[x] == 8 * SIDE::taps(x)) {
                tap[x] = 0;
                tap[x - 1] += 8;
                at += SIDE::tap_stride(ARGS, x - 1) - SIDE::taps(x) * SIDE::tap_stride(ARGS, x);
            }
    }

    __device__ __forceinline__ void fetch(PARAMS, u32 stage, bool exists)
    {
        const u32 bits = exists ? mask : 0;
#pragma unroll
        for (int i = 0; i < part::passes; i++)
            if (!part::exists(i))
                continue;
            else if constexpr (HELD)
                held[i].fetch(from + widened(offset[i]), bits & 1u << i);
            else
                copy_async<16>(part::place(to, i) + stage, from + widened(offset[i]),
                               bits & 1u << i);
    }

    __device__ __forceinline__ void put(u32 stage) const
    {
#pragma unroll
        for (int i = 0; HELD && i < part::passes; i++)
            if (part::exists(i))
                held[i].put(part::place(to, i) + stage);
    }
};
