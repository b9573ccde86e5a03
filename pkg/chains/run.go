// SPDX-License-Identifier: Apache-2.0

package chains

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Verdict is whether Chains may sign.
type Verdict string

// The verdicts.
const (
	Pending Verdict = ""     // not yet known
	Good    Verdict = "good" // verified, or nothing to verify
	Bad     Verdict = "bad"
)

// Run holds what the gate considers of a TaskRun or PipelineRun.
type Run struct {
	Kind            string
	UID             string
	ResourceVersion string
	Annotations     map[string]string
	Finalizers      []string
	Deleted         time.Time // when its deletion was requested; zero: never
	Complete        bool      // in the view of Chains
	Completed       time.Time // from the status; zero: absent
	Verdict         Verdict   // of a PipelineRun: Pending, until Judge was asked
	Why             string    // the reason of a Bad verdict, without text from the object
	Idle            bool      // a TaskRun that never had a pod, and has nothing to verify
}

// Unproven returns the run for a condition without a proof that it is the add-on's: the verdict is pending. A
// run that never had a pod has nothing to judge.
func (r Run) Unproven() Run {
	r.Verdict, r.Why = Pending, ""
	if r.Complete && r.Idle {
		r.Verdict = Good
	}
	return r
}

// status is the part of a status that matters here.
type status struct {
	Conditions     []condition  `json:"conditions,omitempty"`
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	PodName        string       `json:"podName,omitempty"`
	carried        `json:",inline"`
	Steps          []carried `json:"steps,omitempty"`
	TaskSpec       *struct {
		Results []any `json:"results,omitempty"`
	} `json:"taskSpec,omitempty"`
}

type condition struct {
	Type   string `json:"type,omitempty"`
	Status string `json:"status,omitempty"`
}

// carried are the places where results and artifacts are.
type carried struct {
	Results   []any          `json:"results,omitempty"`
	Artifacts map[string]any `json:"artifacts,omitempty"`
	Inputs    []any          `json:"inputs,omitempty"`
	Outputs   []any          `json:"outputs,omitempty"`
}

func (c carried) empty() bool {
	return len(c.Results) == 0 && len(c.Artifacts) == 0 && len(c.Inputs) == 0 && len(c.Outputs) == 0
}

// Read returns the Run of a TaskRun or PipelineRun of tekton.dev/v1. It is Bad if the status cannot be read.
func Read(u *unstructured.Unstructured) Run {
	r := Run{
		Kind: u.GetKind(), UID: string(u.GetUID()), ResourceVersion: u.GetResourceVersion(),
		Annotations: u.GetAnnotations(), Finalizers: u.GetFinalizers(),
	}
	if deleted := u.GetDeletionTimestamp(); deleted != nil {
		r.Deleted = deleted.Time
	}
	var s status
	if fields, ok := u.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &s); err != nil {
			r.Complete, r.Verdict, r.Why = true, Bad, "its status cannot be read"
			return r
		}
	}
	r.Complete = s.complete()
	if s.CompletionTime != nil {
		r.Completed = s.CompletionTime.Time
	}
	if r.Kind == "TaskRun" {
		r.Verdict, r.Why = s.verdict()
		r.Idle = s.PodName == "" && len(s.Steps) == 0 && s.empty()
	}
	return r
}

// complete is true whenever Chains considers the object complete: Chains does so for every value of Succeeded
// except Unknown.
func (s status) complete() bool {
	return slices.ContainsFunc(s.Conditions, func(c condition) bool {
		return c.Type == string(apis.ConditionSucceeded) && c.Status != string(corev1.ConditionUnknown)
	})
}

// verdict returns the verdict of the condition. The caller knows whether the condition is the add-on's. A
// TaskRun that declares no results and has none gets no condition, so there is nothing to wait for.
func (s status) verdict() (Verdict, string) {
	var found []condition
	for _, c := range s.Conditions {
		if c.Type == string(verify.ConditionType) {
			found = append(found, c)
		}
	}
	switch {
	case !s.complete():
		return Pending, ""
	case len(found) > 1:
		return Bad, fmt.Sprintf("it has %d conditions %s", len(found), verify.ConditionType)
	case len(found) == 0 && s.nothingToVerify():
		return Good, ""
	case len(found) == 0:
		return Pending, ""
	}
	switch corev1.ConditionStatus(found[0].Status) {
	case corev1.ConditionTrue:
		return Good, ""
	case corev1.ConditionFalse:
		return Bad, fmt.Sprintf("%s is False", verify.ConditionType)
	}
	return Pending, ""
}

func (s status) nothingToVerify() bool {
	declared := s.TaskSpec != nil && len(s.TaskSpec.Results) > 0
	return !declared && s.empty() && !slices.ContainsFunc(s.Steps, func(c carried) bool { return !c.empty() })
}

// State reads the marker.
func (r Run) State() State {
	text, ok := strings.CutPrefix(r.Annotations[Marker], r.prefix())
	if r.UID == "" || !ok {
		return None
	}
	word, _, _ := strings.Cut(text, ",")
	switch s := State(word); s {
	case Held, Released, Refused:
		return s
	case None:
	}
	return Refused // not written by this version: do not release by mistake
}

func (r Run) prefix() string { return r.UID + ": " }

func (r Run) held() bool { return r.Annotations[Hold] == HoldValue }

func (r Run) has(finalizer string) bool { return slices.Contains(r.Finalizers, finalizer) }

// deadline returns when the gate's patience ends, or zero if nothing limits it. The status can be forged, the
// time of a deletion cannot. The earlier deadline counts.
func (r Run) deadline() time.Time {
	var end time.Time
	if !r.Completed.IsZero() {
		end = r.Completed.Add(Patience)
	}
	if t := r.Deleted.Add(DeletionPatience); !r.Deleted.IsZero() && (end.IsZero() || t.Before(end)) {
		end = t
	}
	return end
}
