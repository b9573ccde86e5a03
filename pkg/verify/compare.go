// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// named is a result, a step result or an artifact in a form that can be compared and shown.
type named struct{ name, text string }

// stoppedReasons are the reasons with which Tekton's controller ends a TaskRun itself. It may then never have
// merged the results.
var stoppedReasons = []string{
	string(v1.TaskRunReasonCancelled), string(v1.TaskRunReasonTimedOut), string(v1.TaskRunReasonImagePullFailed),
	string(v1.TaskRunReasonCreateContainerConfigError), string(v1.TaskRunReasonPodCreationFailed),
	string(v1.TaskRunReasonResultLargerThanAllowedLimit), "CreateContainerError",
}

// OneOfThisName is the expected value for a name that occurs twice. Otherwise, what a check of results, step
// results or artifacts expected or got is one word, or the type and the value.
const OneOfThisName = "one of this name"

// difference compares what the steps emitted with what the TaskRun shows, and adds a failed check for each
// name in which they differ. It reports whether there was something to compare. Results that were removed are
// neither equal nor different.
func (r *replay) difference(id CheckID, container, where string, want, got []named) bool {
	if len(got) == 0 && len(want) > 0 && r.mayBeEmpty() {
		message := "Tekton ended the run before it read the steps' output"
		if r.emptied() {
			message = "enforcement removed the steps' output"
		}
		r.found.add(Check{ID: id, Status: Note, Step: container, Expected: count(len(want), "value"), Got: "none",
			Message: message})
		return false
	}
	fail := func(name, expected, found, message string) {
		r.found.add(Check{ID: id, Status: Fail, Step: container, Result: name, Expected: expected, Got: found,
			Message: message})
	}
	shown := map[string]string{}
	for _, g := range got {
		if _, twice := shown[g.name]; twice {
			fail(g.name, OneOfThisName, "several", where+" holds the name twice")
		}
		shown[g.name] = g.text
	}
	emitted := map[string]bool{}
	for _, w := range want {
		emitted[w.name] = true
		text, ok := shown[w.name]
		switch {
		case !ok:
			fail(w.name, w.text, "nothing", "a step emitted it, "+where+" lacks it")
		case text != w.text:
			fail(w.name, w.text, text, where+" shows another value than the step emitted")
		}
	}
	for _, g := range got {
		if !emitted[g.name] {
			fail(g.name, "nothing", g.text, where+" shows it, no step emitted it")
		}
	}
	return true
}

func (r *replay) compareResults(want replayed) {
	emitted := r.withoutMissingSignatures(want.Results)
	if r.difference(CheckResults, "", "status.results", namedResults(emitted), namedResults(r.tr.Status.Results)) {
		n := countUnreserved(r.units.withoutSignatures(r.tr.Status.Results))
		r.found.pass(CheckResults, count(n, "result")+" as the steps emitted them")
	}
}

func (r *replay) compareSteps(want replayed) {
	total, compared := 0, true
	for i, s := range r.steps {
		var emitted v1.StepState
		if i < len(want.Steps) {
			emitted = want.Steps[i]
		}
		shown := namedStepResults(s.state.Results)
		total += len(shown)
		compared = r.difference(CheckStepResults, s.state.Container, "status.steps[].results",
			namedStepResults(emitted.Results), shown) && compared
		r.difference(CheckArtifacts, s.state.Container, "status.steps[].inputs",
			namedArtifacts(emitted.Inputs), namedArtifacts(s.state.Inputs))
		r.difference(CheckArtifacts, s.state.Container, "status.steps[].outputs",
			namedArtifacts(emitted.Outputs), namedArtifacts(s.state.Outputs))
	}
	if compared {
		r.found.pass(CheckStepResults, count(total, "step result")+" as the steps emitted them")
	}
}

func (r *replay) compareArtifacts(ctx context.Context, want replayed) {
	emitted, shown := want.Artifacts, v1.Artifacts{}
	if a := r.tr.Status.Artifacts; a != nil {
		shown = *a
	}
	if earlier, ok := r.artifactsOfEarlierAttempt(ctx, emitted, shown); ok {
		r.found.add(earlier)
		shown = v1.Artifacts{}
	}
	inputs := r.difference(CheckArtifacts, "", "status.artifacts.inputs", namedArtifacts(emitted.Inputs),
		namedArtifacts(shown.Inputs))
	outputs := r.difference(CheckArtifacts, "", "status.artifacts.outputs", namedArtifacts(emitted.Outputs),
		namedArtifacts(shown.Outputs))
	if !inputs || !outputs {
		return
	}
	r.found.pass(CheckArtifacts, count(len(shown.Inputs)+len(shown.Outputs), "artifact")+" as the steps emitted them")
}

func emptyArtifacts(a *v1.Artifacts) bool { return a == nil || len(a.Inputs)+len(a.Outputs) == 0 }

func namedResults(results []v1.TaskRunResult) []named {
	list := make([]named, 0, len(results))
	for _, r := range results {
		if !signing.IsReserved(r.Name) {
			list = append(list, named{r.Name, valueText(r.Type, r.Value)})
		}
	}
	return list
}

// countUnreserved returns how many results namedResults returns.
func countUnreserved(results []v1.TaskRunResult) int {
	n := 0
	for _, r := range results {
		if !signing.IsReserved(r.Name) {
			n++
		}
	}
	return n
}

func namedStepResults(results []v1.TaskRunStepResult) []named {
	list := make([]named, 0, len(results))
	for _, r := range results {
		list = append(list, named{r.Name, valueText(r.Type, r.Value)})
	}
	return list
}

// namedArtifacts returns the artifacts by name. Tekton keeps several artifacts of one name from a single
// step: they count as one.
func namedArtifacts(artifacts []v1.Artifact) []named {
	texts, names := map[string]*strings.Builder{}, []string{}
	for _, a := range artifacts {
		text, err := json.Marshal(struct {
			Values      []v1.ArtifactValue `json:"values"`
			BuildOutput bool               `json:"buildOutput"`
		}{append([]v1.ArtifactValue{}, a.Values...), a.BuildOutput})
		if err != nil {
			text = []byte(err.Error()) // plain strings and booleans always encode
		}
		if texts[a.Name] == nil {
			texts[a.Name], names = &strings.Builder{}, append(names, a.Name)
		}
		texts[a.Name].Write(text)
	}
	list := make([]named, 0, len(names))
	for _, name := range names {
		list = append(list, named{name, texts[name].String()})
	}
	return list
}

// valueText shows a result with its type. If the declared type and the actual one differ, it shows both.
func valueText(declared v1.ResultsType, v v1.ParamValue) string {
	text := string(declared)
	if string(declared) != string(v.Type) {
		text += "/" + string(v.Type)
	}
	return text + " " + string(valueJSON(v))
}

// valueJSON returns the value as JSON with sorted keys and without HTML escapes.
func valueJSON(v v1.ParamValue) []byte {
	if v.Type == v1.ParamTypeString && isPlain(v.StringVal) {
		return []byte(`"` + v.StringVal + `"`) // true of most results, and much faster
	}
	var value any = v.StringVal
	switch v.Type {
	case v1.ParamTypeArray:
		value = append([]string{}, v.ArrayVal...)
	case v1.ParamTypeObject:
		value = v.ObjectVal
	case v1.ParamTypeString:
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return []byte(err.Error()) // strings always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// isPlain reports whether s needs no escaping in JSON.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' })
}

// digestsOf lists the results without carriers.
func digestsOf(results []v1.TaskRunResult, verified bool) []ResultDigest {
	var list []ResultDigest
	for _, r := range results {
		if signing.IsReserved(r.Name) {
			continue
		}
		var sum [sha256.Size]byte
		if r.Value.Type == v1.ParamTypeString {
			sum = sha256.Sum256([]byte(r.Value.StringVal))
		} else {
			sum = sha256.Sum256(valueJSON(r.Value))
		}
		list = append(list, ResultDigest{
			Name: r.Name, Type: string(r.Type), SHA256: hex.EncodeToString(sum[:]), Verified: verified,
		})
	}
	return list
}
