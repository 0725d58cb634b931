/* A libnvidia-ml.so.1 whose GPUs follow a script: NVML's entry points, and stub_… to set the script.

   A GPU draws idle_w, and while it is loaded on_w for the first half of each period. Its sensor lags behind that by
   lag_s, and everything it tells changes only every tick_s. Times are CLOCK_MONOTONIC in seconds, as Python has them. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEVICES 64
#define LOADS 16
enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

typedef struct {
    char name[96], uuid[96];
    double idle_w, on_w, period_s;           /* the load */
    double tick_s, phase_s, lag_s;           /* the sensor */
    double sense_s;                          /* how much of the time before a tick a power reading sees */
    double frozen_at_s, throttle_at_s;       /* 0: never */
    int32_t throttle_field, module_scope;    /* the field that counts throttling; the scope that has power */
    int32_t energy_code, field_code, usage_code; /* what is answered instead, if not 0 */
    int32_t zero, mig, processes, limit_mw;
} Script;

typedef struct { double from_s, until_s; } Load;
typedef struct { Script script; Load loads[LOADS]; int count; } Gpu;
typedef struct { uint32_t field, scope; int64_t at, latency; int32_t type, code; union { double d; uint32_t ui; uint64_t ull; } value; } Field;
typedef struct { uint64_t total, free, used; } Memory;

static Gpu gpus[DEVICES];
static int devices = -1; /* -1: no driver */

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

void stub_devices(int count) { devices = count; memset(gpus, 0, sizeof gpus); }
void stub_script(int index, const Script *script) { gpus[index].script = *script; gpus[index].count = 0; }
void stub_load(int index, double from_s) { gpus[index].loads[gpus[index].count++] = (Load){from_s, INFINITY}; }
void stub_idle(int index, double from_s) { gpus[index].loads[gpus[index].count - 1].until_s = from_s; }

/* Seconds of the first halves of periods within a load until t. */
static double on_s(const Gpu *gpu, double t) {
    double total = 0, period = gpu->script.period_s;
    for (int i = 0; i < gpu->count; i++) {
        double s = fmin(t, gpu->loads[i].until_s) - gpu->loads[i].from_s;
        if (s > 0) total += floor(s / period) * period / 2 + fmin(fmod(s, period), period / 2);
    }
    return total;
}

static double energy_j(const Gpu *gpu, double t) {
    return gpu->script.idle_w * t + (gpu->script.on_w - gpu->script.idle_w) * on_s(gpu, t);
}

/* What the sensor has seen by its last tick. */
static double seen_s(const Script *s) {
    double t = now_s();
    if (s->frozen_at_s > 0) t = fmin(t, s->frozen_at_s);
    return floor((t - s->phase_s) / s->tick_s) * s->tick_s + s->phase_s - s->lag_s;
}

static uint32_t power_mw(const Gpu *gpu) {
    double end = seen_s(&gpu->script), sense = gpu->script.sense_s;
    return gpu->script.zero ? 0 : (uint32_t)(1e3 * (energy_j(gpu, end) - energy_j(gpu, end - sense)) / sense);
}

/* A process that nobody scripts has as many plain GPUs as STUB_GPUS says. */
__attribute__((constructor)) static void start(void) {
    const char *count = getenv("STUB_GPUS");
    if (!count) return;
    stub_devices(atoi(count));
    for (int i = 0; i < devices; i++) {
        Script script = {"Stub GPU", "", 60, 300, 0.1, 0.1, 0, 0, 0.025, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 400000};
        snprintf(script.uuid, sizeof script.uuid, "GPU-%08x-0000", i);
        stub_script(i, &script);
    }
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return devices < 0 ? 9 /* driver not loaded */ : SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : code == 9 ? "Driver Not Loaded" : "Not Supported"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = devices; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) { *gpu = &gpus[index]; return SUCCESS; }
int nvmlDeviceGetName(Gpu *gpu, char *text, unsigned length) { snprintf(text, length, "%s", gpu->script.name); return SUCCESS; }
int nvmlDeviceGetUUID(Gpu *gpu, char *text, unsigned length) { snprintf(text, length, "%s", gpu->script.uuid); return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { snprintf(text, length, "570.1"); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12080; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return nvmlSystemGetCudaDriverVersion(version); }
int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) { (void)gpu; *memory = (Memory){1 << 30, 1 << 29, 1 << 29}; return SUCCESS; }
int nvmlDeviceGetClockInfo(Gpu *gpu, int type, unsigned *mhz) { (void)gpu; *mhz = 1000 + type; return SUCCESS; }
int nvmlDeviceGetTemperature(Gpu *gpu, int sensor, unsigned *celsius) { (void)gpu; (void)sensor; *celsius = 50; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(Gpu *gpu, unsigned *mw) { *mw = gpu->script.limit_mw; return SUCCESS; }

int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    *current = *pending = gpu->script.mig == 1;
    return gpu->script.mig < 0 ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, void *infos) {
    unsigned there = gpu->script.processes;
    if (!infos) { *count = there; return there ? 7 /* insufficient size */ : SUCCESS; }
    *count = there;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, unsigned long long *mj) {
    if (gpu->script.energy_code) return gpu->script.energy_code;
    *mj = gpu->script.zero ? 0 : (unsigned long long)(1e3 * energy_j(gpu, seen_s(&gpu->script)));
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(Gpu *gpu, unsigned *mw) {
    *mw = power_mw(gpu);
    return gpu->script.usage_code;
}

static int field(const Gpu *gpu, Field *f) {
    const Script *s = &gpu->script;
    if (f->field == 185 || f->field == 186) {
        if (s->field_code || (int32_t)f->scope != s->module_scope) return s->field_code ? s->field_code : NOT_SUPPORTED;
        f->type = 1;
        f->value.ui = power_mw(gpu);
        return SUCCESS;
    }
    if (f->field != 74 && f->field != 75 && (f->field < 269 || f->field > 271)) return INVALID_ARGUMENT;
    f->type = 3;
    f->value.ull = 12345;
    if (s->throttle_at_s > 0 && now_s() > s->throttle_at_s && (int32_t)f->field == s->throttle_field) f->value.ull += 1000000;
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(Gpu *gpu, int count, Field *fields) {
    for (int i = 0; i < count; i++) fields[i].code = field(gpu, &fields[i]);
    return SUCCESS;
}
