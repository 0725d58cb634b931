"""Small files of our own in other projects' formats: what tests and fuzzers start from."""

from __future__ import annotations

import json

from netdyno.devices.android.benchmark_proto import message_type
from netdyno.profiler.formats.single_path import searched_layers

SINGLE_PATH = json.dumps(
    {str(n): {o: 0.25 * n + int(o) for o in layers} for n, layers in enumerate(searched_layers(), start=1)}
)
TFNAS = """device,op_key,mid_channels,latency_ms
gpu,base,,2.0
gpu,MBInvertedResBlock_14_80_160_112_k5_s1_swish,160.0,0.5
gpu,MBInvertedResBlock_14_80_0_80_k3_s1_relu,1.0,-0.25
gpu,MBInvertedResBlock_14_80_0_80_k3_s1_relu,2.0,0.125
cpu,base,,9.0
cpu,MBInvertedResBlock_14_80_0_80_k3_s1_relu,2.0,1.5
"""
OFA = """Conv-input:32x32x3-output:16x16x8: {count: 100, mean: 1.5, std: 0.2}
Logits-input:1x1x96-output:10: {count: 50, mean: 0.03125, std: 1.0}
"""
AIHUB = """precisions:
  float:
    components:
      Net:
        performance_metrics:
          Phone A:
            tflite:
              inference_time_milliseconds: 1.5
              estimated_peak_memory_range_mb: {min: 0, max: 10}
            onnx: {job_status: Failed}
          Phone B:
            tflite: {job_status: Passed, inference_time_milliseconds: 2.5}
  w8a8:
    components:
      Net:
        performance_metrics:
          Phone A:
            tflite: {inference_time_milliseconds: 0.75, primary_compute_unit: NPU}
"""
TRTEXEC = """[ { "count" : 100 }
, { "name" : "conv1 + relu", "timeMs" : 50.0, "averageMs" : 0.5, "medianMs" : 0.25, "percentage" : 60 }
, { "name" : "nothing", "timeMs" : 0, "averageMs" : 0, "medianMs" : 0, "percentage" : 0 }
, { "name" : "fc", "timeMs" : 25.0, "averageMs" : 0.125, "percentage" : 40 }
]"""
IPROFILER = '{"conv1": [0.5, 0.25, 1.0], "fc": [[0.125, "20240101-00:00:01.50"]]}'
ONNXRUNTIME = """[
{"cat" : "Session","pid" :1,"tid" :1,"dur" :60,"ts" :1,"ph" : "X","name" :"session_initialization","args" : {}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :1,"ts" :100,"ph" : "X","name" :"conv_fence_before","args" : {"op_name" : "Conv"}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :20,"ts" :101,"ph" : "X","name" :"conv_kernel_time","args" : {"op_name" : "Conv","provider" : "CPUExecutionProvider","node_index" : "0","input_type_shape" : [{"float":[1,3,8,8]},{"float":[4,3,1,1]}],"output_type_shape" : [{"float":[1,4,8,8]}]}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :5,"ts" :122,"ph" : "X","name" :"relu_token_12_kernel_time","args" : {"op_name" : "Relu","node_index" : "1"}},
{"cat" : "Session","pid" :1,"tid" :1,"dur" :30,"ts" :100,"ph" : "X","name" :"model_run","args" : {}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :30,"ts" :201,"ph" : "X","name" :"conv_kernel_time","args" : {"op_name" : "Conv","node_index" : "0"}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :6,"ts" :232,"ph" : "X","name" :"relu_token_12_kernel_time","args" : {"op_name" : "Relu","node_index" : "1"}},
{"cat" : "Node","pid" :1,"tid" :1,"dur" :1,"ts" :240,"ph" : "X","name" :"relu_token_12_kernel_time","args" : {"op_name" : "Relu","node_index" : "1"}},
{"cat" : "Session","pid" :1,"tid" :1,"dur" :45,"ts" :200,"ph" : "X","name" :"model_run","args" : {}}
]
"""  # noqa: E501
LOG = """INFO: Graph: [models/net.tflite]
INFO: count=5 first=2761 curr=2885 min=2605 max=3080 avg=2800.5 std=100
INFO: count=100 first=2881 curr=2703 min=2605 max=3356 avg=2942 std=50
INFO: Inference timings in us: Init: 6395, First inference: 2761, Warmup (avg): 2800.5, Inference (avg): 2942
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t         AllocateTensors\t    0.028\t    0.016\t  100%\t  100%\t     0.000\t        2\tAllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t Convolution (NHWC, F32) IGEMM\t    0.000\t    1.269\t    1.250\t 60.0%\t 60.0%\t     0.000\t        1\tXnn/Conv:0
\t                     ADD\t    4.270\t    0.150\t    0.125\t 40.0%\t100.0%\t     0.000\t        3\t[net/add]:1

============================== Top by Computation Time ==============================
\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                     ADD\t    4.270\t    0.150\t    0.125\t 40.0%\t100.0%\t     0.000\t        3\t[net/add]:1

Number of nodes executed: 2
"""
CSV = """============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, F32) IGEMM, 1.269, 1.250, 60.0%, 60.0%, 0.000, 1, Delegate/Conv:0
ADD, 0.150, 0.125, 40.0%, 100.0%, 0.000, 3, [net/add]:1

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
ADD, 0.150, 0.125, 40.0%, 100.0%, 0.000, 3, [net/add]:1
"""


def proto() -> bytes:
    """The same two operators as a protobuf, and one of a delegate."""
    profile = message_type("BenchmarkProfilingData")(model_name="net")
    runs = profile.runtime_profile
    section = runs.subgraph_profiles.add(subgraph_name="Primary graph")
    operators = [(1, "ADD", 12500, 3, "net/add"), (0, "CONV_2D", 125000, 1, "net/conv")]
    for order, kind, total_us, called, name in operators:
        row = section.per_op_profiles.add(node_type=kind, name=name, times_called=called, run_order=order)
        row.inference_microseconds.sum, row.inference_microseconds.count = total_us, 100
    delegate = runs.delegate_profiles.add(delegate_name="XNNPACK").per_op_profiles.add(node_type="Sigmoid", name="d")
    delegate.inference_microseconds.avg = 50
    content: bytes = profile.SerializeToString()
    return content


FILES: dict[str, list[tuple[str, bytes]]] = {
    "single-path-json": [("pixel.json", SINGLE_PATH.encode())],
    "tfnas-csv": [("lut.csv", TFNAS.encode())],
    "aihub-perf": [("net.perf.yaml", AIHUB.encode())],
    "trtexec-json": [("profile.json", TRTEXEC.encode()), ("layers.json", IPROFILER.encode())],
    "onnxruntime-json": [("profile.json", ONNXRUNTIME.encode())],
    "benchmark-model": [("net.log", LOG.encode()), ("net.csv", CSV.encode()), ("net.pb", proto())],
}
"""Each format's twins: a file name and its content."""
CHOICES = {
    "tfnas-csv": {"device": "gpu"},
    "aihub-perf": {"device": "Phone A", "precision": "float", "runtime": "tflite"},
}
