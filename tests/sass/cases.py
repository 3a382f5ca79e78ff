"""The kernels whose machine code is looked at: graphs, tiles of the tensor cores, targets."""
import dataclasses

LAST = "layout([0, 2, 3, 1], [0, 0, 0, 0], [0, 0, 0, 0])"  # channels last


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    text: str    # of the graph
    target: str
    tile: tuple  # rows, columns, parts of the depth; () where the kernel has but one
    fused: bool = False  # fused multiply-adds are counted, not instructions of the tensor cores

    @property
    def key(self):
        return self.name, self.target, "x".join(map(str, self.tile)) or "-"


def matmul(kind, to, a_along_k, b_along_k, math="", rounded=""):
    """Which operands have their depth innermost, and which are rounded to tf32 already."""
    text, names = "", {}
    for i, (letter, along_k) in enumerate((("a", a_along_k), ("b", b_along_k))):
        name = f"%{10 * i}"
        text += f'{name} = input "{letter}" : {kind}[512, 512]\n'
        if letter in rounded:
            text += f"%{10 * i + 1} = softmax {name} {{axes=[1]}}\n%{10 * i + 2} = round_tf32 %{10 * i + 1}\n"
            name = f"%{10 * i + 2}"
        if along_k != (letter == "a"):
            text += f"%{10 * i + 3} = transpose {name} {{perm=[1, 0]}}\n"
            name = f"%{10 * i + 3}"
        names[letter] = name
    return text + f'%20 = matmul {names["a"]}, {names["b"]} {{to={to}}}{math}\noutput "y" = %20\n'


def conv(kind, to, size):
    """Channels last; pools over one pixel bring them there and back."""
    one = "{kernel=[1, 1], stride=[1, 1], dilation=[1, 1], low=[0, 0], high=[0, 0], size=[%d, %d]}"
    image, taps, pad = one % (28, 28), one % (size, size), size // 2
    shapes = f"{kind}[2, 128, 28, 28]", f"{kind}[256, 128, {size}, {size}]"
    return (f'%0 = input "x" : {shapes[0]}\n%1 = input "w" : {shapes[1]}\n'
            f"%2 = pool_max %0 {image} : {shapes[0]} {LAST}\n"
            f"%3 = pool_max %1 {taps} : {shapes[1]} {LAST}\n"
            f"%4 = conv %2, %3 {{to={to}, group=1, stride=[1, 1], dilation=[1, 1], "
            f"low=[{pad}, {pad}], high=[{pad}, {pad}]}} : {to}[2, 256, 28, 28] {LAST}\n"
            f'%5 = pool_max %4 {image}\noutput "y" = %5\n')


def conv_behind_depthwise(kind, taps, stride):
    """A 1x1 convolution whose kernel makes the depthwise one in front of it."""
    one = "{kernel=[1, 1], stride=[1, 1], dilation=[1, 1], low=[0, 0], high=[0, 0], size=[56, 56]}"
    size, pad = 56 // stride, taps // 2
    return (f'%0 = input "x" : {kind}[1, 96, 56, 56]\n%1 = input "taps" : {kind}[96, 1, {taps}, {taps}]\n'
            f'%2 = input "w" : {kind}[32, 96, 1, 1]\n'
            f"%3 = pool_max %0 {one} : {kind}[1, 96, 56, 56] {LAST}\n"
            f"%4 = conv %3, %1 {{to={kind}, group=96, stride=[{stride}, {stride}], dilation=[1, 1], "
            f"low=[{pad}, {pad}], high=[{pad}, {pad}]}} : {kind}[1, 96, {size}, {size}] {LAST}\n"
            f"%5 = conv %4, %2 {{to={kind}, group=1, stride=[1, 1], dilation=[1, 1], low=[0, 0], "
            f'high=[0, 0]}}\noutput "y" = %5\n')


def conv_with_mean(kind):
    """A 1x1 convolution whose kernel takes the mean over all pixels of what it leaves."""
    one = "{kernel=[1, 1], stride=[1, 1], dilation=[1, 1], low=[0, 0], high=[0, 0], size=[%d, %d]}"
    image, weights = f"{kind}[1, 512, 7, 7]", f"{kind}[2048, 512, 1, 1]"
    return (f'%0 = input "x" : {image}\n%1 = input "w" : {weights}\n'
            f"%2 = pool_max %0 {one % (7, 7)} : {image} {LAST}\n"
            f"%3 = pool_max %1 {one % (1, 1)} : {weights} {LAST}\n"
            f"%4 = conv %2, %3 {{to={kind}, group=1, stride=[1, 1], dilation=[1, 1], low=[0, 0], "
            f"high=[0, 0]}} : {kind}[1, 2048, 7, 7] {LAST}\n"
            f"%5 = abs %4 : {kind}[1, 2048, 7, 7] {LAST}\n"
            f'%6 = reduce_sum %5 {{axes=[2, 3]}}\noutput "y" = %6\n')


def attention(kind, size, causal=False, bias=False, math="", queries=512):
    extra = f'%3 = input "bias" : f32[1, 8, {queries}, 512]\n' if bias else ""
    return ("".join(f'%{i} = input "{name}" : {kind}[1, 8, {rows}, {size}]\n'
                    for i, (name, rows) in enumerate(zip("qkv", (queries, 512, 512)))) + extra +
            f"%4 = attention %0, %1, %2{', %3' if bias else ''} {{to={kind}, scale=0.125, softcap=0, "
            f"causal={'true' if causal else 'false'}, offset=0, zero=false}}{math}\n"
            'output "y" = %4\n')


FIRST_LAYER = """%0 = input "x" : f16[1, 3, 224, 224]
%1 = input "w" : f16[64, 3, 7, 7]
%2 = conv %0, %1 {to=f16, group=1, stride=[2, 2], dilation=[1, 1], low=[3, 3], high=[3, 3]}
output "y" = %2
"""

TILES = [(256, 128), (128, 256), (128, 128), (128, 64), (64, 128), (64, 64), (128, 32), (32, 128),
         (64, 32), (32, 64), (32, 32), (16, 64), (64, 16), (16, 32), (32, 16), (32, 8), (16, 16),
         (16, 8)]
LARGE = [(256, 128), (128, 128), (64, 64)]
SOME = [(128, 128), (64, 64)]


def all_cases():
    rows = []

    def add(name, text, targets, tiles, parts=1, fused=False):
        rows.extend(Case(name, text, target, (*tile, parts) if tile else (), fused)
                    for target in targets.split() for tile in tiles)

    f16 = matmul("f16", "f16", True, True)
    add("matmul f16", f16, "sm_80", TILES)
    add("matmul f16", f16, "sm_86 sm_89 sm_90a sm_120", SOME)
    add("matmul f16", f16, "sm_75", [*SOME, (128, 64), (32, 32)])
    add("matmul f16", f16, "sm_80", SOME, parts=2)
    add("matmul f16, b along n", matmul("f16", "f16", True, False), "sm_80", [*LARGE, (32, 32)])
    add("matmul f16, both along rows", matmul("f16", "f16", False, False), "sm_80", [(128, 256)])
    add("matmul bf16", matmul("bf16", "bf16", True, True), "sm_80 sm_90a", SOME)
    add("matmul tf32", matmul("f32", "f32", True, True, " math(tf32)"), "sm_80", [(128, 64), (64, 64)])
    tf32 = " math(tf32)"
    add("matmul tf32, b rounded", matmul("f32", "f32", True, True, tf32, "b"), "sm_80", [(128, 64), (64, 128)])
    add("matmul tf32, both rounded", matmul("f32", "f32", True, True, tf32, "ab"), "sm_80", LARGE)
    add("matmul f32x3", matmul("f32", "f32", True, True, " math(f32x3)"), "sm_80", [(64, 64)])
    add("matmul i8", matmul("i8", "i32", True, True), "sm_80", LARGE)
    add("matmul i8", matmul("i8", "i32", True, True), "sm_75", SOME)
    add("matmul f8", matmul("f8e4m3fn", "f32", True, True), "sm_89", SOME)
    add("matmul f8", matmul("f8e4m3fn", "f32", True, True), "sm_90a sm_100a sm_120",
        [(128, 128), (128, 64), (64, 64), (64, 32)])
    add("conv 3x3 f16", conv("f16", "f16", 3), "sm_80", [*LARGE, (128, 64), (32, 32)])
    add("conv 3x3 f16", conv("f16", "f16", 3), "sm_75", SOME)
    add("conv 3x3 f16", conv("f16", "f16", 3), "sm_90a", [(64, 64)])
    add("conv 1x1 f16", conv("f16", "f16", 1), "sm_80", SOME)
    add("conv 3x3 i8", conv("i8", "i32", 3), "sm_80", SOME)
    for taps in 3, 5:
        for stride in 1, 2:
            add(f"conv 1x1 of a depthwise {taps}x{taps}/{stride} f16", conv_behind_depthwise("f16", taps, stride),
                "sm_80 sm_90a", [(32, 32)])
    add("conv 1x1 with a mean of 49 pixels f16", conv_with_mean("f16"), "sm_80 sm_90a", [(64, 32)])
    add("conv 1x1 with a mean of 49 pixels f16", conv_with_mean("f16"), "sm_80", [(64, 32)], parts=2)
    add("conv 7x7 of 3 channels f16", FIRST_LAYER, "sm_80", [()])
    for size in 32, 64, 128:
        add(f"attention {size} f16", attention("f16", size), "sm_80 sm_90a", [()])
    add("attention 64 f16, causal", attention("f16", 64, True), "sm_80", [()])
    add("attention 64 f16, bias", attention("f16", 64, False, True), "sm_80", [()])
    add("attention 64 bf16", attention("bf16", 64), "sm_80", [()])
    for size in 32, 64, 128:
        add(f"attention {size} tf32", attention("f32", size, math=" math(tf32)"), "sm_80", [()])
    add("attention 64 tf32, causal", attention("f32", 64, True, math=" math(tf32)"), "sm_80", [()])
    add("attention 64 tf32, bias", attention("f32", 64, False, True, " math(tf32)"), "sm_80", [()])
    add("attention 64 tf32, many queries", attention("f32", 64, math=" math(tf32)", queries=2048),
        "sm_80", [()])
    add("attention 64 f32x3", attention("f32", 64, math=" math(f32x3)"), "sm_80", [()])
    for size in 32, 64, 128:
        add(f"attention {size} f32", attention("f32", size), "sm_80", [()], fused=True)
    add("attention 64 f32, causal", attention("f32", 64, True), "sm_80", [()], fused=True)
    add("attention 64 f32, bias", attention("f32", 64, False, True), "sm_80", [()], fused=True)
    for kind in "f16", "f32":
        add(f"attention 64 {kind}, one query", attention(kind, 64, queries=1), "sm_80", [()],
            fused=True)
    return rows
