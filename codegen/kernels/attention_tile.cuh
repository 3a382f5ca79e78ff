/*
 * TILE_ROWS queries a block, TILE_KEYS keys at a time, in f32. Threads stand in 16 columns: a
 * thread has `rows` queries in a row and every 16th key of them, and after the softmax every 16th
 * group of Y_VECTOR results. Keys, and after them their values, lie in the same place in shared
 * memory.
 */
constexpr int columns = 16;
constexpr int rows = TILE_ROWS / (THREADS / columns), keys = TILE_KEYS / columns; /* of a thread */
constexpr int pitch = 4 * ((DEPTH + 3) / 4 | 1); /* odd in vectors: no bank meets twice */
constexpr int width = (WIDTH + columns - 1) / columns * columns;
constexpr int power_pitch = TILE_KEYS + 4;
constexpr int y_groups = (WIDTH + columns * Y_VECTOR - 1) / (columns * Y_VECTOR);

struct tile {
    float q[TILE_ROWS * pitch];
    float kv[TILE_KEYS * (pitch > width ? pitch : width)];
    float powers[TILE_ROWS * power_pitch];
};

/* `count` rows of an operand from `first` on, as floats; 0 behind its end and at what pads a line.
 */
template <int VECTOR, int LENGTH, int PITCH, class LOAD>
static __device__ __forceinline__ void fill(float *to, int count, idx_t first, idx_t end,
                                            LOAD load_one)
{
    constexpr int vectors = LENGTH / VECTOR, padding = PITCH - LENGTH;
#pragma unroll 2
    for (int i = threadIdx.x; i < count * vectors; i += THREADS) {
        const int row = i / vectors, vector = i % vectors;
        float x[VECTOR] = {};
        if (first + row < end)
            load_one(first + row, vector, x);
#pragma unroll
        for (int j = 0; j < VECTOR; j++)
            to[row * PITCH + vector * VECTOR + j] = x[j];
    }
    if (padding > 0)
        for (int i = threadIdx.x; i < count * padding; i += THREADS)
            to[i / (padding ? padding : 1) * PITCH + LENGTH + i % (padding ? padding : 1)] = 0;
}

/* A thread's part of the block's tile. */
struct part {
    idx_t plane, first; /* the head, and the first query of this thread */
    int x, y;           /* column of threads; first row in the tile */
    float sums[rows][y_groups][Y_VECTOR];
    float greatest[rows], sum[rows];

    __device__ __forceinline__ part(idx_t plane, idx_t tile_first)
        : plane(plane), x(threadIdx.x % columns), y(threadIdx.x / columns * rows)
    {
        first = tile_first + y;
#pragma unroll
        for (int i = 0; i < rows; i++) {
            greatest[i] = LOWEST;
            sum[i] = 0;
#pragma unroll
            for (int g = 0; g < y_groups; g++)
#pragma unroll
                for (int j = 0; j < Y_VECTOR; j++)
                    sums[i][g][j] = 0;
        }
    }

    __device__ __forceinline__ void multiply(const tile &t, float (*s)[keys]) const
    {
#pragma unroll
        for (int i = 0; i < rows; i++)
#pragma unroll
            for (int j = 0; j < keys; j++)
                s[i][j] = 0;
#pragma unroll 4
        for (int d = 0; d < DEPTH; d += 4) {
            vec<float, 4> q[rows], k[keys];
#pragma unroll
            for (int i = 0; i < rows; i++)
                q[i] = load<4>(&t.q[(y + i) * pitch + d]);
#pragma unroll
            for (int j = 0; j < keys; j++)
                k[j] = load<4>(&t.kv[(x + j * columns) * pitch + d]);
#pragma unroll
            for (int i = 0; i < rows; i++)
#pragma unroll
                for (int j = 0; j < keys; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        s[i][j] += q[i].at[e] * k[j].at[e];
        }
    }

    /* Scores to powers, which go to shared memory; sums become relative to the new greatest. */
    __device__ __forceinline__ void exponentiate(PARAMS, tile &t, idx_t first_key, float (*s)[keys])
    {
#pragma unroll
        for (int i = 0; i < rows; i++) {
            const idx_t row = first + i, end = row < QUERIES ? keys_before(ARGS, row) : 0;
            float now = greatest[i];
#pragma unroll
            for (int j = 0; j < keys; j++) {
                const idx_t key = first_key + x + j * columns;
                s[i][j] = key < end ? score(ARGS, plane, row, key, s[i][j]) : LOWEST;
                now = greater_of(now, s[i][j]);
            }
#pragma unroll
            for (int distance = columns / 2; distance > 0; distance /= 2)
                now = greater_of(now, __shfl_xor_sync(~0u, now, distance));
            const float base = base_of(now), factor = power_of(greatest[i] - base);
            greatest[i] = now;
            sum[i] *= factor;
#pragma unroll
            for (int g = 0; g < y_groups; g++)
#pragma unroll
                for (int j = 0; j < Y_VECTOR; j++)
                    sums[i][g][j] *= factor;
#pragma unroll
            for (int j = 0; j < keys; j++) {
                const float power = power_of(s[i][j] - base);
                sum[i] += power;
                t.powers[(y + i) * power_pitch + x + j * columns] = power;
            }
        }
    }

    __device__ __forceinline__ void add_values(const tile &t)
    {
#pragma unroll 2
        for (int key = 0; key < TILE_KEYS; key += 4) {
            vec<float, 4> p[rows];
#pragma unroll
            for (int i = 0; i < rows; i++)
                p[i] = load<4>(&t.powers[(y + i) * power_pitch + key]);
#pragma unroll
            for (int e = 0; e < 4; e++)
#pragma unroll
                for (int g = 0; g < y_groups; g++) {
                    const vec<float, Y_VECTOR> v =
                        load<Y_VECTOR>(&t.kv[(key + e) * width + (x + g * columns) * Y_VECTOR]);
#pragma unroll
                    for (int i = 0; i < rows; i++)
#pragma unroll
                        for (int j = 0; j < Y_VECTOR; j++)
                            sums[i][g][j] += p[i].at[e] * v.at[j];
                }
        }
    }

    __device__ __forceinline__ void add_columns()
    {
#pragma unroll
        for (int i = 0; i < rows; i++)
#pragma unroll
            for (int distance = columns / 2; distance > 0; distance /= 2)
                sum[i] += __shfl_xor_sync(~0u, sum[i], distance);
    }

    __device__ __forceinline__ void finish(PARAMS)
    {
        add_columns();
#pragma unroll
        for (int i = 0; i < rows; i++) {
            const float share = share_of(ARGS, sum[i]);
#pragma unroll
            for (int g = 0; g < y_groups; g++) {
#pragma unroll
                for (int j = 0; j < Y_VECTOR; j++)
                    sums[i][g][j] *= share;
                if (first + i < QUERIES && (x + g * columns) * Y_VECTOR < WIDTH)
                    store(ARGS, plane, first + i, x + g * columns, sums[i][g]);
            }
        }
    }

#if SPLITS
    /* Not the last of the keys: sums as they are. */
    __device__ __forceinline__ void leave(PARAMS, float *to)
    {
        add_columns();
#pragma unroll
        for (int i = 0; i < rows; i++) {
            float *const own = to + (y + i) * part_length;
            if (first + i >= QUERIES)
                continue;
#pragma unroll
            for (int g = 0; g < y_groups; g++)
#pragma unroll
                for (int j = 0; j < Y_VECTOR; j++)
                    if ((x + g * columns) * Y_VECTOR < WIDTH)
                        own[(x + g * columns) * Y_VECTOR + j] = sums[i][g][j];
            if (x == 0) {
                own[WIDTH] = greatest[i];
                own[WIDTH + 1] = sum[i];
            }
        }
    }
#endif
};

#if SPLITS
/* The results of a tile of queries from its parts. */
static __device__ __forceinline__ void join(PARAMS, const float *parts, idx_t split, idx_t plane,
                                            idx_t first)
{
    constexpr int vectors = WIDTH / Y_VECTOR;
    for (int i = threadIdx.x; i < TILE_ROWS * vectors; i += THREADS) {
        const int own = i / vectors, vector = i % vectors;
        float y[Y_VECTOR];
        if (first + own < QUERIES) {
            join_parts<Y_VECTOR>(ARGS, parts + own * part_length, TILE_ROWS * part_length, split,
                                 vector, y);
            store(ARGS, plane, first + own, vector, y);
        }
    }
}
#endif

/* Two blocks of a multiprocessor: the compiler then spills nothing to make room for more. */
extern "C" __global__ void __launch_bounds__(THREADS, 2) KERNEL(PARAMS)
{
    extern __shared__ __align__(16) char memory[];
    tile &t = *reinterpret_cast<tile *>(memory);
    const idx_t tiles = (QUERIES + TILE_ROWS - 1) / TILE_ROWS;
    const idx_t split = SPLITS ? SPLIT : 1, whole = blockIdx.x / split, plane = whole / tiles;
    const idx_t first = whole % tiles * TILE_ROWS;
    part my(plane, first);
    const idx_t last = first + TILE_ROWS < QUERIES ? first + TILE_ROWS : QUERIES;
    const idx_t end = keys_before(ARGS, last - 1);
    /* This block's keys: whole tiles, from `start` on, before `stop`. */
    const idx_t own = (end + split * TILE_KEYS - 1) / (split * TILE_KEYS) * TILE_KEYS;
    const idx_t start = SPLITS ? blockIdx.x % split * own : 0;
    const idx_t stop = start + own < end ? start + own : end;

    fill<Q_VECTOR, DEPTH, pitch>(
        t.q, TILE_ROWS, first, QUERIES,
        [&](idx_t row, int vector, float *to) { load_q(ARGS, plane, row, vector, to); });
    for (idx_t key = start; key < stop; key += TILE_KEYS) {
        float s[rows][keys];
        fill<K_VECTOR, DEPTH, pitch>(
            t.kv, TILE_KEYS, key, end,
            [&](idx_t row, int vector, float *to) { load_k(ARGS, plane, row, vector, to); });
        __syncthreads();
        my.multiply(t, s);
        my.exponentiate(ARGS, t, key, s);
        __syncthreads();
        fill<V_VECTOR, WIDTH, width>(
            t.kv, TILE_KEYS, key, end,
            [&](idx_t row, int vector, float *to) { load_v(ARGS, plane, row, vector, to); });
        __syncthreads();
        my.add_values(t);
        __syncthreads();
    }
#if SPLITS
    if (split > 1) {
        float *const parts = PARTS + (long long)whole * split * TILE_ROWS * part_length;
        my.leave(ARGS, parts + blockIdx.x % split * TILE_ROWS * part_length);
        if (is_last_part(ARGS, whole, split))
            join(ARGS, parts, split, plane, first);
        return;
    }
#endif
    my.finish(ARGS);
}
