// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

// What a file may cost that is a number of times larger. Allocated bytes are the same on every machine. Work
// that allocates nothing shows only in the processor time, which is not exact, hence the factor and the
// minimum. If anything is quadratic, eight times the size costs 64 times as much. Costs below the minimum do
// not matter.
const (
	larger       = 8
	moreBytes    = 2 // times the linear cost
	moreTime     = 3 // the same
	freeBytes    = 16 << 20
	freeTime     = 500 * time.Millisecond
	mostTime     = 20 * time.Second // ten times the budget of one object, for machines that are slow and busy
	mostOfOneRun = 2 << 30          // allocated bytes, not those in use
)

// object is a TaskRun in the form of a file, because Tekton's types cannot express most of these files.
type object map[string]any

func (o object) at(path ...string) object {
	for _, key := range path {
		next, ok := o[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			o[key] = next
		}
		o = next
	}
	return o
}

// list returns n elements.
func list(n int, element func(i int) any) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = element(i)
	}
	return all
}

// members returns an object with n members, each a short text.
func members(n int) map[string]any {
	all := map[string]any{}
	for i := range n {
		all[fmt.Sprintf("k%06d", i)] = "x"
	}
	return all
}

// steps repeats the TaskRun's last step until there are n of it.
func (o object) steps(n int) {
	old := o.at("status")["steps"].([]any)
	last := old[len(old)-1].(map[string]any)
	o.at("status")["steps"] = list(n, func(i int) any {
		step := map[string]any{}
		for key, value := range last {
			step[key] = value
		}
		step["name"], step["container"] = fmt.Sprint("s", i), fmt.Sprint("step-s", i)
		return step
	})
}

// eachStep changes the state of all steps.
func (o object) eachStep(change func(i int, step object)) {
	for i, step := range o.at("status")["steps"].([]any) {
		change(i, step.(map[string]any))
	}
}

// attempts archives n attempts like the last one.
func (o object) attempts(n int, change func(status object)) {
	attempt := object{}
	for key, value := range o.at("status") {
		attempt[key] = value
	}
	if change != nil {
		change(attempt)
	}
	o.at("status")["retriesStatus"] = list(n, func(int) any { return map[string]any(attempt) })
}

func grownResult(name string, value any) map[string]any {
	return map[string]any{"name": name, "type": "string", "value": value}
}

func artifactNamed(name string) map[string]any {
	return map[string]any{"name": name, "values": []any{map[string]any{"uri": "x"}}}
}

// grown is something that the author of a file can repeat without limit.
type grown struct {
	name string
	base string // plain if empty
	most int    // as much as is read of it
	grow func(o object, n int)
}

func text(n int) string { return strings.Repeat("a", n) }

var grownObjects = []grown{
	{"steps", "plain", 248, func(o object, n int) { o.steps(n) }},
	{"steps with certificates", "spire", 248, func(o object, n int) { o.steps(n) }},
	{"steps by sidecar log", "sidecar", 248, func(o object, n int) { o.steps(n) }},
	{"steps of format v1", "legacy", 248, func(o object, n int) { o.steps(n) }},
	{"steps that cannot be read", "plain", 248, func(o object, n int) {
		o.steps(n)
		o.eachStep(func(_ int, s object) { s["terminated"] = object{"message": "[" + text(4095)} })
	}},
	{"steps that all claim to be the last", "sidecar", 248, func(o object, n int) {
		o.steps(n)
		o.at("status")["results"] = list(n*16, func(i int) any { return grownResult(fmt.Sprint("n", i), text(1000)) })
	}},
	{"attempts", "plain", 256, func(o object, n int) { o.attempts(n, nil) }},
	{"attempts by sidecar log", "sidecar", 256, func(o object, n int) { o.attempts(n, nil) }},
	{"attempts of format v1", "legacy", 256, func(o object, n int) { o.attempts(n, nil) }},
	{"attempts with long pod names", "plain", 256, func(o object, n int) {
		o.attempts(n, func(s object) { s["podName"] = text(24000) })
	}},
	{"attempts with the artifacts of the one before", "plain", 256, func(o object, n int) {
		o.at("status")["artifacts"] = object{"outputs": []any{artifactNamed("a")}}
		o.at("status")["conditions"] = []any{object{"type": "Succeeded", "status": "False", "reason": "TaskRunCancelled"}}
		o.attempts(n, nil)
	}},
	{"attempts that are not looked at", "plain", 16000, func(o object, n int) {
		o.at("status")["retriesStatus"] = list(n, func(int) any { return object{"podName": "x"} })
	}},
	{"attempts within attempts", "plain", 24, func(o object, n int) {
		inner := object{}
		for range n {
			inner = object{"retriesStatus": []any{inner}, "steps": list(400, func(int) any { return object{"unknown": 1} })}
		}
		o.at("status")["retriesStatus"] = []any{inner}
	}},
	{"entries of a message", "plain", 2400, func(o object, n int) {
		o.eachStep(func(_ int, s object) {
			entries, _ := json.Marshal(list(n, func(i int) any {
				return struct {
					Key   string `json:"key"`
					Value string `json:"value"`
					Type  int    `json:"type"`
				}{fmt.Sprintf("n%06d", i), "x", 1}
			}))
			s.at("terminated")["message"] = string(entries)
		})
	}},
	{"bytes of a message", "plain", 7 << 20, func(o object, n int) {
		o.eachStep(func(i int, s object) {
			if i == 0 {
				s.at("terminated")["message"] = `[{"key":"a","value":"` + text(n) + `","type":1}]`
			}
		})
	}},
	{"results", "plain", 4000, func(o object, n int) {
		o.at("status")["results"] = list(n, func(i int) any { return grownResult(fmt.Sprint("n", i), "x") })
	}},
	{"results by sidecar log", "sidecar", 4000, func(o object, n int) {
		o.at("status")["results"] = list(n, func(i int) any {
			return grownResult(fmt.Sprint("n", i), `{"b": "1", "a": "2"}`)
		})
	}},
	{"members of a result by sidecar log", "sidecar", 200_000, func(o object, n int) {
		value, _ := json.Marshal(members(n))
		o.at("status")["results"] = []any{grownResult("n", " "+string(value))}
	}},
	{"members of a result", "plain", 80_000, func(o object, n int) {
		o.at("status")["results"] = []any{object{"name": "n", "type": "object", "value": members(n)}}
	}},
	{"elements of a result", "plain", 80_000, func(o object, n int) {
		o.at("status")["results"] = []any{object{"name": "n", "type": "array",
			"value": list(n, func(int) any { return "x" })}}
	}},
	{
		"bytes of a result", "plain", 7 << 20, func(o object, n int) {
			o.at("status")["results"] = []any{grownResult("n", text(n))}
		},
	},
	{"declared results", "plain", 24000, func(o object, n int) {
		o.steps(240)
		o.at("status", "taskSpec")["results"] = list(n,
			func(i int) any { return object{"name": fmt.Sprint("n", i), "type": "string"} })
	}},
	{"declared results of the spec", "plain", 16000, func(o object, n int) {
		o.at("spec", "taskSpec")["results"] = list(n,
			func(i int) any { return object{"name": fmt.Sprint("n", i), "type": "string"} })
		o.attempts(200, func(s object) { s["results"], s["steps"] = nil, s["steps"].([]any)[:1] })
	}},
	{"promoted results and step results", "sidecar", 10000, func(o object, n int) {
		o.steps(100)
		o.eachStep(func(i int, s object) {
			if i == 0 {
				s["results"] = list(n, func(i int) any { return grownResult(fmt.Sprintf("n%06d", i), "x") })
			}
		})
		o.at("status", "taskSpec")["results"] = list(n, func(i int) any {
			return grownResult(fmt.Sprint("p", i), fmt.Sprintf("$(steps.s0.results.m%06d)", i))
		})
	}},
	{"step results by sidecar log", "sidecar", 20000, func(o object, n int) {
		o.steps(240)
		o.eachStep(func(i int, s object) {
			if i == 0 {
				s["results"] = list(n, func(i int) any { return grownResult(fmt.Sprintf("n%06d", i), "x") })
			}
		})
	}},
	{"steps of the Task", "plain", 48000, func(o object, n int) {
		o.steps(240)
		o.at("status", "taskSpec")["steps"] = list(n, func(i int) any { return object{"name": fmt.Sprint("n", i)} })
	}},
	{"artifacts of a step", "sidecar", 12000, func(o object, n int) {
		o.eachStep(func(_ int, s object) {
			s["outputs"] = list(n/2, func(i int) any { return artifactNamed(fmt.Sprint("a", i%100)) })
		})
	}},
	{"artifacts", "plain", 16000, func(o object, n int) {
		o.at("status")["artifacts"] = object{"outputs": list(n, func(int) any { return artifactNamed("a") })}
	}},
	{"digests of an artifact", "plain", 80_000, func(o object, n int) {
		artifact := artifactNamed("a")
		artifact["values"].([]any)[0].(map[string]any)["digest"] = members(n)
		o.at("status")["artifacts"] = object{"outputs": []any{artifact}}
	}},
	{"conditions", "plain", 24000, func(o object, n int) {
		o.at("status")["conditions"] = list(n, func(int) any { return object{"type": "Succeeded", "status": "True"} })
	}},
	{"sidecars", "plain", 40000, func(o object, n int) {
		o.at("status")["sidecars"] = list(n, func(int) any { return object{"name": "a"} })
		o.eachStep(func(_ int, s object) { s.at("terminated")["message"] = "[" + text(4095) })
	}},
	{"annotations", "plain", 80_000, func(o object, n int) { o.at("metadata")["annotations"] = members(n) }},
	{"labels", "plain", 80_000, func(o object, n int) { o.at("metadata")["labels"] = members(n) }},
	{"owners", "plain", 16000, func(o object, n int) {
		o.at("metadata")["ownerReferences"] = list(n, func(int) any { return object{"kind": "PipelineRun", "name": "a"} })
	}},
	{
		"digests of the source", "plain", 80_000, func(o object, n int) {
			o.at("status", "provenance", "refSource")["digest"] = members(n)
		},
	},
	{"parameters", "plain", 24000, func(o object, n int) {
		o.at("spec")["params"] = list(n, func(i int) any { return object{"name": fmt.Sprint("n", i), "value": "x"} })
	}},
	{"unknown fields, here and there", "plain", 24000, func(o object, n int) {
		o.at("status")["conditions"] = append(o.at("status")["conditions"].([]any),
			list(n, func(int) any { return object{"unknown": 1} })...)
	}},
	{"unknown fields with long names", "plain", 48, func(o object, n int) {
		for i := range n {
			o.at("status")[text(120_000)+fmt.Sprint(i)] = 1
		}
	}},
	{
		"unknown values", "plain", 80_000, func(o object, n int) {
			o.at("spec")["unknown"] = list(n, func(int) any { return 1 })
		},
	},
	{"bytes of the name", "plain", 7 << 20, func(o object, n int) { o.steps(248); o.at("metadata")["name"] = text(n) }},
	{
		"bytes of the namespace", "plain", 7 << 20,
		func(o object, n int) { o.steps(248); o.at("metadata")["namespace"] = text(n) },
	},
	{"bytes of the UID", "plain", 7 << 20, func(o object, n int) { o.steps(248); o.at("metadata")["uid"] = text(n) }},
	{
		"bytes of the account", "plain", 7 << 20, func(o object, n int) {
			o.steps(248)
			o.at("spec")["serviceAccountName"] = text(n)
		},
	},
	{
		"bytes of the pod's name", "plain", 7 << 20,
		func(o object, n int) { o.steps(248); o.at("status")["podName"] = text(n) },
	},
	{"bytes of the reason", "plain", 6 << 20, func(o object, n int) {
		o.steps(248)
		o.eachStep(func(i int, s object) {
			if i > 0 {
				s["terminated"] = nil
			}
		})
		o.at("status")["conditions"] = []any{object{"type": "Succeeded", "status": "True", "reason": text(n)}}
	}},
	{"bytes of a container's name", "plain", 7 << 20, func(o object, n int) {
		o.eachStep(func(i int, s object) {
			if i == 0 {
				s["container"] = text(n)
			}
		})
	}},
	{"bytes of the record", "plain", 250 << 10, func(o object, n int) {
		o.at("status", "annotations")["tekton-sign.dev/record"] = "v1." + text(n) + ".x"
	}},
}

// grownTexts are files without a TaskRun.
var grownTexts = []struct {
	name string
	most int
	text func(n int) string
}{
	{"JSON, escaped keys", 80_000, func(n int) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`"\u0061%d":"x"`, i)
		}
		return `{"kind":"TaskRun","apiVersion":"tekton.dev/v1","metadata":{"labels":{` + strings.Join(keys, ",") + `}}}`
	}},
	{"JSON, a number", 7 << 20, func(n int) string {
		return `{"kind":"TaskRun","apiVersion":"tekton.dev/v1","metadata":{"generation":` + strings.Repeat("1", n) + `}}`
	}},
	{"JSON, opened and not closed", 1 << 20, func(n int) string { return strings.Repeat(`{"a":`, n) }},
	{"JSON, broken lines", 200_000, func(n int) string { return strings.Repeat("{\"a\":\n", n) }},
	{"JSON, many objects", 64_000, func(n int) string { return strings.Repeat("{}\n", n) }},
	{
		"JSON, items many times", 200_000, func(n int) string {
			return `{"items":[]` + strings.Repeat(`,"items":[]`, n) + "}"
		},
	},
	{"records of as many types", 64_000, func(n int) string {
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, `{"name":"a","data":{"type":"t%d","value":""}}`, i)
		}
		return all.String()
	}},
	{"YAML, keys that look odd", 49_000, func(n int) string { return yamlLines(n, "%da"+strings.Repeat("+", 100)+":\n") }},
	{"YAML, keys", 49_000, func(n int) string { return yamlLines(n, "k%d: x\n") }},
	{"YAML, keys after carriage returns", 700_000, func(n int) string { return yamlLines(n, "k%d:\r") }},
	{"YAML, keys and tabs", 700_000, func(n int) string { return "{" + yamlLines(n, "? k%d:\t\u2028") + "}" }},
	{"YAML, directives", 60_000, func(n int) string { return yamlLines(n, "%TAG !a%d! tag:x\n") + "---\na: b\n" }},
	{"YAML, directives after carriage returns", 60_000, func(n int) string {
		return "# x\r" + yamlLines(n, "%TAG !a%d! tag:x\r") + "---\ra: b\r\nb: c\n"
	}},
	{"YAML, directives after line separators", 60_000, func(n int) string {
		return "# x\u2028" + yamlLines(n, "%TAG !a%d! tag:x\u2028") + "---\u2028a: b\nb: c\n"
	}},
	{"YAML, comments", 140_000, func(n int) string { return "a: b\n" + yamlLines(n, "# %d\n") }},
	{"YAML, comments between", 48_000, func(n int) string { return yamlLines(n, "k%d: x\n# x\n") }},
	{
		"YAML, comments after carriage returns", 1_500_000,
		func(n int) string { return "a: b\r" + strings.Repeat("# \r", n) + "\nb: c\n" },
	},
	{"YAML, lines of a plain text", 140_000, func(n int) string { return "a: b\n" + strings.Repeat("  b\n", n) }},
	{"YAML, lines of a quoted text", 140_000, func(n int) string { return "a: \"" + strings.Repeat("b\n", n) + "\"\n" }},
	{"YAML, lines of a block", 140_000, func(n int) string { return "a: |\n" + strings.Repeat("  b\n", n) }},
	{"YAML, anchors", 64_000, func(n int) string { return "a:\n" + yamlLines(n, "- &a%d x\n") }},
	{"YAML, aliases", 64_000, func(n int) string {
		return "a: &a [" + strings.Repeat("x,", n) + "]\nb:\n" + strings.Repeat("- *a\n", n/2)
	}},
	{"YAML, tags", 64_000, func(n int) string { return "a:\n" + strings.Repeat("- !!str x\n", n) }},
	{"YAML, nested", 4000, func(n int) string { return "a: " + strings.Repeat("[", n) + strings.Repeat("]", n) }},
	{"YAML, indented", 3600 * 3600, func(n int) string { // the length of the text is quadratic in its lines
		var all strings.Builder
		for i := range int(math.Sqrt(float64(n))) {
			all.WriteString(strings.Repeat(" ", i) + "k:\n")
		}
		return all.String()
	}},
	{"YAML, a long key", 7 << 20, func(n int) string { return text(n) + ": b\n" }},
	{"YAML, a long quoted key", 7 << 20, func(n int) string { return `"` + text(n) + "\": b\n" }},
	{"YAML, a number", 7 << 20, func(n int) string { return "a: " + strings.Repeat("1", n) + "\n" }},
	{"YAML, a flow of keys", 140_000, func(n int) string { return "a: {" + yamlLines(n, "k%d,") + "}\n" }},
	{"YAML, documents", 24_000, func(n int) string { return strings.Repeat("a: b\n---\n", n) }},
	{
		"YAML, items", 24_000, func(n int) string {
			return "kind: List\napiVersion: v1\nitems:\n" + strings.Repeat("- a: b\n", n)
		},
	},
	{
		"YAML, a line of spaces after items", 56 << 20,
		func(n int) string { return "items:" + strings.Repeat(" ", n) + "x\n" },
	},
	{
		"YAML, a line of spaces among items", 56 << 20,
		func(n int) string { return "items:\n- a: b\n" + strings.Repeat(" ", n) + "x\n" },
	},
}

// yamlLines returns n lines, in which %d is the line's number.
func yamlLines(n int, line string) string {
	var all strings.Builder
	for i := range n {
		all.WriteString(strings.ReplaceAll(line, "%d", strconv.Itoa(i)))
	}
	return all.String()
}

// bases returns signed TaskRuns of each kind, as JSON.
func bases(t *testing.T) (all map[string][]byte, bundle []byte) {
	t.Helper()
	cluster, err := verifytest.NewCluster()
	if err == nil {
		cluster.CA, err = verifytest.NewCA(verifytest.TrustDomain)
	}
	if err == nil {
		bundle, err = cluster.Bundle()
	}
	if err != nil {
		t.Fatal(err)
	}
	all = map[string][]byte{}
	for name, change := range map[string]func(*verifytest.Run){
		"plain": func(*verifytest.Run) {}, "sidecar": func(*verifytest.Run) {},
		"spire":  func(r *verifytest.Run) { r.Scheme = signing.SchemeSPIRE },
		"legacy": func(r *verifytest.Run) { r.Format, r.Scheme = signing.FormatV1, signing.SchemeOIDCKeyBound },
	} {
		r := verifytest.NewRun()
		change(r)
		make := r.TaskRun
		if name == "sidecar" {
			make = r.SidecarTaskRun
		}
		tr, err := make(cluster)
		if err != nil {
			t.Fatal(name, err)
		}
		verifytest.DropCarriers(tr)
		if all[name], err = json.Marshal(tr); err != nil {
			t.Fatal(err)
		}
	}
	return all, bundle
}

// cost is the cost of one call.
type cost struct {
	bytes uint64        // allocated
	time  time.Duration // processor time of all threads
}

// costOf calls f and returns its cost.
func costOf(t *testing.T, f func()) cost {
	t.Helper()
	now := func() cost {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return cost{stats.TotalAlloc, time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
	}
	runtime.GC()
	before := now()
	f()
	after := now()
	return cost{after.bytes - before.bytes, after.time - before.time}
}

// checkGrowth measures f at two sizes. If the larger one took long, it measures it again, because other
// processes may have slowed it down.
func checkGrowth(t *testing.T, f func(size int)) {
	t.Helper()
	small, large := costOf(t, func() { f(1) }), costOf(t, func() { f(larger) })
	allowedTime := moreTime*larger*small.time + freeTime
	if large.time > allowedTime {
		large.time = min(large.time, costOf(t, func() { f(larger) }).time)
	}
	if allowed := moreBytes*larger*small.bytes + freeBytes; large.bytes > allowed || large.bytes > mostOfOneRun {
		t.Errorf("%d times as much allocates %d MiB instead of %d KiB, want at most %d MiB", larger, large.bytes>>20,
			small.bytes>>10,
			min(allowed, mostOfOneRun)>>20)
	}
	if large.time > allowedTime || large.time > mostTime {
		t.Errorf("%d times as much takes %v of processor time instead of %v, want at most %v", larger, large.time, small.time,
			min(allowedTime, mostTime))
	}
	t.Logf("%d KiB, %v, then %d MiB, %v", small.bytes>>10, small.time, large.bytes>>20, large.time)
}

// commands returns the commands that read files from others.
func commands(dir string) map[string][]string {
	file, bundle := filepath.Join(dir, "case"), filepath.Join(dir, "bundle")
	verify := []string{"verify", "--offline", "--allow-unrecorded", "-f", file, "--trust-bundle", bundle, "-o"}
	return map[string][]string{
		"verify":         append(verify[:len(verify):len(verify)], "table"),
		"verify -o json": append(verify[:len(verify):len(verify)], "json"),
		"evidence":       {"evidence", "-f", file, "-o", "json"},
	}
}

// checkFile checks the cost of every command for files of both sizes.
func checkFile(t *testing.T, bundle []byte, names []string, file func(size int) []byte) {
	t.Helper()
	files := map[int][]byte{1: file(1), larger: file(larger)}
	dirs := map[int]string{}
	for size, data := range files {
		dirs[size] = place(t, corpus.Case{File: data, Bundle: bundle})
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			checkGrowth(t, func(size int) {
				var out, errs bytes.Buffer
				streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errs}
				_ = cli.Run(t.Context(), "kubectl-tekton_sign", commands(dirs[size])[name], streams)
				if strings.Contains(errs.String(), "internal error") {
					t.Errorf("%.300s", errs.String())
				}
			})
		})
	}
}

// The cost of a TaskRun grows no faster than its size, whatever it is that grows.
func TestGrowth(t *testing.T) {
	all, bundle := bases(t)
	for _, g := range grownObjects {
		t.Run(g.name, func(t *testing.T) {
			checkFile(t, bundle, []string{"verify", "verify -o json", "evidence"}, func(size int) []byte {
				var o object
				if err := json.Unmarshal(all[g.base], &o); err != nil {
					t.Fatal(err)
				}
				g.grow(o, g.most*size/larger)
				data, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				if len(data) > 8<<20 {
					t.Fatalf("%d bytes are more than is read", len(data))
				}
				return data
			})
		})
	}
}

// The same holds for files without a TaskRun.
func TestGrowthOfTexts(t *testing.T) {
	_, bundle := bases(t)
	for _, g := range grownTexts {
		t.Run(g.name, func(t *testing.T) {
			checkFile(t, bundle, []string{"verify", "evidence"},
				func(size int) []byte { return []byte(g.text(g.most * size / larger)) })
		})
	}
}
