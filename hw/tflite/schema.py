"""Numbers of operators, data types and options in the TensorFlow Lite schema, version 3.

Source: tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

from spaces.graph import Activation, OpKind

SCHEMA_VERSION = 3
CUSTOM, CUSTOM_NAME = 32, "CUSTOM"
COMPILED_OP = "edgetpu-custom-op"
VELA_OP = "ethos-u"
DISPATCH_OP = "DISPATCH_OP"
"""What stands for a chip in files that LiteRT compiled ahead of time, whichever the vendor."""
DETECTION_POSTPROCESS = "TFLite_Detection_PostProcess"

# fmt: off
OPERATORS: dict[int, str] = dict(
    (
        (0, "ADD"), (1, "AVERAGE_POOL_2D"), (2, "CONCATENATION"), (3, "CONV_2D"),
        (4, "DEPTHWISE_CONV_2D"), (5, "DEPTH_TO_SPACE"), (6, "DEQUANTIZE"),
        (7, "EMBEDDING_LOOKUP"), (8, "FLOOR"), (9, "FULLY_CONNECTED"), (10, "HASHTABLE_LOOKUP"),
        (11, "L2_NORMALIZATION"), (12, "L2_POOL_2D"), (13, "LOCAL_RESPONSE_NORMALIZATION"),
        (14, "LOGISTIC"), (15, "LSH_PROJECTION"), (16, "LSTM"), (17, "MAX_POOL_2D"), (18, "MUL"),
        (19, "RELU"), (20, "RELU_N1_TO_1"), (21, "RELU6"), (22, "RESHAPE"),
        (23, "RESIZE_BILINEAR"), (24, "RNN"), (25, "SOFTMAX"), (26, "SPACE_TO_DEPTH"),
        (27, "SVDF"), (28, "TANH"), (29, "CONCAT_EMBEDDINGS"), (30, "SKIP_GRAM"), (31, "CALL"),
        (32, "CUSTOM"), (33, "EMBEDDING_LOOKUP_SPARSE"), (34, "PAD"),
        (35, "UNIDIRECTIONAL_SEQUENCE_RNN"), (36, "GATHER"), (37, "BATCH_TO_SPACE_ND"),
        (38, "SPACE_TO_BATCH_ND"), (39, "TRANSPOSE"), (40, "MEAN"), (41, "SUB"), (42, "DIV"),
        (43, "SQUEEZE"), (44, "UNIDIRECTIONAL_SEQUENCE_LSTM"), (45, "STRIDED_SLICE"),
        (46, "BIDIRECTIONAL_SEQUENCE_RNN"), (47, "EXP"), (48, "TOPK_V2"), (49, "SPLIT"),
        (50, "LOG_SOFTMAX"), (51, "DELEGATE"), (52, "BIDIRECTIONAL_SEQUENCE_LSTM"), (53, "CAST"),
        (54, "PRELU"), (55, "MAXIMUM"), (56, "ARG_MAX"), (57, "MINIMUM"), (58, "LESS"),
        (59, "NEG"), (60, "PADV2"), (61, "GREATER"), (62, "GREATER_EQUAL"), (63, "LESS_EQUAL"),
        (64, "SELECT"), (65, "SLICE"), (66, "SIN"), (67, "TRANSPOSE_CONV"),
        (68, "SPARSE_TO_DENSE"), (69, "TILE"), (70, "EXPAND_DIMS"), (71, "EQUAL"),
        (72, "NOT_EQUAL"), (73, "LOG"), (74, "SUM"), (75, "SQRT"), (76, "RSQRT"), (77, "SHAPE"),
        (78, "POW"), (79, "ARG_MIN"), (80, "FAKE_QUANT"), (81, "REDUCE_PROD"), (82, "REDUCE_MAX"),
        (83, "PACK"), (84, "LOGICAL_OR"), (85, "ONE_HOT"), (86, "LOGICAL_AND"),
        (87, "LOGICAL_NOT"), (88, "UNPACK"), (89, "REDUCE_MIN"), (90, "FLOOR_DIV"),
        (91, "REDUCE_ANY"), (92, "SQUARE"), (93, "ZEROS_LIKE"), (94, "FILL"), (95, "FLOOR_MOD"),
        (96, "RANGE"), (97, "RESIZE_NEAREST_NEIGHBOR"), (98, "LEAKY_RELU"),
        (99, "SQUARED_DIFFERENCE"), (100, "MIRROR_PAD"), (101, "ABS"), (102, "SPLIT_V"),
        (103, "UNIQUE"), (104, "CEIL"), (105, "REVERSE_V2"), (106, "ADD_N"), (107, "GATHER_ND"),
        (108, "COS"), (109, "WHERE"), (110, "RANK"), (111, "ELU"), (112, "REVERSE_SEQUENCE"),
        (113, "MATRIX_DIAG"), (114, "QUANTIZE"), (115, "MATRIX_SET_DIAG"), (116, "ROUND"),
        (117, "HARD_SWISH"), (118, "IF"), (119, "WHILE"), (120, "NON_MAX_SUPPRESSION_V4"),
        (121, "NON_MAX_SUPPRESSION_V5"), (122, "SCATTER_ND"), (123, "SELECT_V2"), (124, "DENSIFY"),
        (125, "SEGMENT_SUM"), (126, "BATCH_MATMUL"), (128, "CUMSUM"), (129, "CALL_ONCE"),
        (130, "BROADCAST_TO"), (131, "RFFT2D"), (132, "CONV_3D"), (133, "IMAG"), (134, "REAL"),
        (135, "COMPLEX_ABS"), (136, "HASHTABLE"), (137, "HASHTABLE_FIND"),
        (138, "HASHTABLE_IMPORT"), (139, "HASHTABLE_SIZE"), (140, "REDUCE_ALL"),
        (141, "CONV_3D_TRANSPOSE"), (142, "VAR_HANDLE"), (143, "READ_VARIABLE"),
        (144, "ASSIGN_VARIABLE"), (145, "BROADCAST_ARGS"), (146, "RANDOM_STANDARD_NORMAL"),
        (147, "BUCKETIZE"), (148, "RANDOM_UNIFORM"), (149, "MULTINOMIAL"), (150, "GELU"),
        (151, "DYNAMIC_UPDATE_SLICE"), (152, "RELU_0_TO_1"), (156, "ATAN2"), (158, "SIGN"),
        (200, "STABLEHLO_WHILE"), (203, "DILATE"), (205, "REDUCE_WINDOW"),
        (206, "STABLEHLO_COMPOSITE"),
    )
)
"""Names of builtin operators; others are called by their numbers."""
OF_A_KIND = {"PADV2": OpKind.PAD, "SPLIT_V": OpKind.SPLIT}
"""Operators that are of a kind with another one."""
BUILTINS: dict[int, OpKind] = {
    number: OF_A_KIND.get(name) or OpKind(name)
    for number, name in OPERATORS.items()
    if name in OF_A_KIND or name in OpKind.__members__
}
"""Operators that an op kind stands for; others stay on the host."""
TYPES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64",
    "int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4",
    "bfloat16", "int2", "uint4",
)
TYPE_BITS = {
    "float32": 32, "float16": 16, "int32": 32, "uint8": 8, "int64": 64, "bool": 8, "int16": 16,
    "complex64": 64, "int8": 8, "float64": 64, "complex128": 128, "uint64": 64, "uint32": 32,
    "uint16": 16, "int4": 4, "bfloat16": 16, "int2": 2, "uint4": 4,
}
# fmt: on
FLOATS = frozenset({"float32", "float16", "float64", "bfloat16"})
ACTIVATIONS: dict[int, Activation] = {1: "relu", 3: "relu6"}
OPTIONS_TYPE = {
    OpKind.CONV_2D: 1,
    OpKind.DEPTHWISE_CONV_2D: 2,
    OpKind.AVERAGE_POOL_2D: 5,
    OpKind.MAX_POOL_2D: 5,
    OpKind.FULLY_CONNECTED: 8,
    OpKind.ADD: 11,
    OpKind.MUL: 21,
    OpKind.SUB: 28,
    OpKind.TRANSPOSE_CONV: 49,
}
ACTIVATION_FIELD = {1: 3, 2: 4, 5: 5, 8: 0, 11: 0, 21: 0, 28: 0, 49: 3}
CALLED_SUBGRAPHS = {
    "CALL": (16, (0,)),
    "IF": (92, (0, 1)),
    "WHILE": (93, (0, 1)),
    "STABLEHLO_WHILE": (15, (0, 1)),
    "STABLEHLO_COMPOSITE": (21, (1,)),
}
"""Operators that run other subgraphs: type of their options, and the fields that number those."""
STRIDED_OPTIONS = frozenset({1, 2, 5, 49})
POOL_OPTIONS = 5


def operator_name(number: int) -> str:
    """A builtin operator by its name in the schema.

    >>> operator_name(48), operator_name(60), operator_name(500)
    ('TOPK_V2', 'PADV2', 'builtin operator 500')
    """
    return OPERATORS.get(number, f"builtin operator {number}")
