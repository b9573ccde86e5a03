// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"encoding/json"
	"fmt"
	"strings"
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
