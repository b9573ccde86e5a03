// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/kmeta"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Start is when virtual TaskRuns start. They take a minute.
func Start() time.Time { return time.Date(2025, 6, 2, 12, 0, 0, 0, time.UTC) }

// signedAt is when virtual steps sign.
func signedAt() time.Time { return Start().Add(30 * time.Second) }

// Run describes a TaskRun to make. NewRun returns one that verifies; tests change it before it is signed.
type Run struct {
	Namespace, Name string
	UID, PodUID     string
	ServiceAccount  string
	Retries         int // attempts before this one
	Spec            v1.TaskSpec
	Steps           []Step
	Failed          bool // the pod failed

	Format signing.Format // of the evidence; v2 if empty
	Scheme signing.Scheme // how the steps sign; payload-bound if zero; in format v1 the scheme with the same identity
	Key    crypto.Signer  // of the pod's SVID; a new P-256 key if nil
	// Sign returns the carriers of a step; nil for those of the scheme.
	Sign func(index int, unit signing.Unit) (map[string]string, error)
}

// Step describes what a step did.
type Step struct {
	Name     string
	Entries  []result.RunResult // what it emitted, without carriers
	ExitCode int32
	Reason   string // of the terminated container, "Completed" if empty
	Running  bool   // it never ended

	Bare     bool                                 // it leaves no evidence
	Unsigned signing.UnsignedReason               // it leaves this reason in place of evidence
	Change   func(*signing.Unit)                  // changes what is signed
	Claims   func(map[string]any)                 // changes the token's claims
	Token    func(claims map[string]any) string   // replaces the token
	SVID     func(*x509.Certificate)              // changes the template of the certificate
	Issuer   *CA                                  // issues the certificate, the cluster's own if nil
	Carriers func(map[string]string)              // changes the carriers
	Message  func(entries []result.RunResult) any // replaces the message: a string, or entries
}

// RunUID is the UID of the TaskRun of a new Run.
const RunUID = "6340374f-3a88-4ff2-812e-c155a2d8e142"

// NewRun returns a TaskRun with two steps and a string, an array and an object result.
func NewRun() *Run {
	return &Run{
		Namespace: "ci", Name: "build",
		UID: RunUID, PodUID: "3db15e48-971f-4815-84b3-272e52f61a10",
		ServiceAccount: "builder",
		Spec: v1.TaskSpec{
			Results: []v1.TaskResult{
				{Name: "IMAGE_DIGEST", Type: v1.ResultsTypeString},
				{Name: "TAGS", Type: v1.ResultsTypeArray},
				{Name: "SOURCE", Type: v1.ResultsTypeObject, Properties: map[string]v1.PropertySpec{
					"commit": {Type: v1.ParamTypeString}, "url": {Type: v1.ParamTypeString},
				}},
			},
			Steps: []v1.Step{{Name: "build", Image: "busybox"}, {Name: "publish", Image: "busybox"}},
		},
		Steps: []Step{
			{Name: "build", Entries: []result.RunResult{
				TaskResult("IMAGE_DIGEST", "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
				TaskResult("TAGS", `["v1.4.0","latest"]`),
			}},
			{Name: "publish", Entries: []result.RunResult{
				TaskResult("SOURCE", `{"commit":"8f3c1d2","url":"https://git.example/app"}`),
			}},
		},
	}
}

// TaskResult returns an entry of a task result.
func TaskResult(name, value string) result.RunResult {
	return result.RunResult{Key: name, Value: value, ResultType: result.TaskRunResultType}
}

// StepResult returns an entry of a step result.
func StepResult(name, value string) result.RunResult {
	return result.RunResult{Key: name, Value: value, ResultType: result.StepResultType}
}

// PodName returns Tekton's name for the run's pod.
func (r *Run) PodName() string {
	suffix := "-pod"
	if r.Retries > 0 {
		suffix = fmt.Sprintf("-pod-retry%d", r.Retries)
	}
	return kmeta.ChildName(r.Name, suffix)
}

// TaskRun signs the steps and returns the TaskRun as a cluster stores it.
func (r *Run) TaskRun(c *Cluster) (*v1.TaskRun, error) {
	pod, err := r.Pod(c)
	if err != nil {
		return nil, err
	}
	return r.TaskRunOf(pod)
}

// TaskRunOf returns the TaskRun that Tekton makes from the pod, as a cluster stores it.
func (r *Run) TaskRunOf(pod *corev1.Pod) (*v1.TaskRun, error) {
	start := metav1.NewTime(Start())
	tr := v1.TaskRun{
		TypeMeta: metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "TaskRun"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: r.Name, UID: types.UID(r.UID), CreationTimestamp: start,
		},
		Spec: v1.TaskRunSpec{ServiceAccountName: r.ServiceAccount, TaskSpec: r.Spec.DeepCopy()},
	}
	tr.Status.TaskSpec = r.Spec.DeepCopy()
	tr.Status.StartTime = &start
	for i := range r.Retries {
		archived := v1.TaskRunStatus{}
		archived.PodName = fmt.Sprintf("%s-attempt%d", r.Name, i)
		tr.Status.RetriesStatus = append(tr.Status.RetriesStatus, archived)
	}
	status, err := tektontest.NewController().Status(tr, pod, &r.Spec, nil)
	if err != nil {
		return nil, fmt.Errorf("merging the messages: %w", err)
	}
	end := metav1.NewTime(Start().Add(time.Minute))
	status.CompletionTime = &end
	for i := range status.Conditions { // Tekton set the current time
		status.Conditions[i].LastTransitionTime.Inner = end
	}
	tr.Status = status
	return stored(&tr)
}

// stored encodes and decodes the TaskRun as JSON, as the API server does.
func stored(tr *v1.TaskRun) (*v1.TaskRun, error) {
	data, err := json.Marshal(tr)
	if err != nil {
		return nil, err
	}
	var out v1.TaskRun
	return &out, json.Unmarshal(data, &out)
}

// Pod returns the pod of the TaskRun as the API server stores it after the steps ended.
func (r *Run) Pod(c *Cluster) (*corev1.Pod, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.PodName(), UID: types.UID(r.PodUID),
			CreationTimestamp: metav1.NewTime(Start())},
		Spec:   corev1.PodSpec{NodeName: "node-1"},
		Status: corev1.PodStatus{Phase: corev1.PodSucceeded},
	}
	if r.Failed {
		pod.Status.Phase = corev1.PodFailed
	}
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: r.Name, UID: types.UID(r.UID), Controller: &yes,
	}}
	for i := range r.Steps {
		step := &r.Steps[i]
		status := corev1.ContainerStatus{Name: tekton.StepContainer(step.Name),
			ImageID: "registry.example/busybox@sha256:0000"}
		if step.Running {
			status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(Start())}
		} else {
			message, err := r.message(c, i)
			if err != nil {
				return nil, err
			}
			status.State.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: step.ExitCode, Reason: cmp.Or(step.Reason, "Completed"), Message: message,
				StartedAt: metav1.NewTime(Start()), FinishedAt: metav1.NewTime(Start().Add(30 * time.Second)),
			}
		}
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: status.Name})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
	}
	return pod, nil
}

// message returns the termination message of a step, with its evidence.
func (r *Run) message(c *Cluster, index int) (string, error) {
	step := &r.Steps[index]
	entries := slices.Clone(step.Entries)
	carriers, err := r.carriers(c, index)
	if err != nil {
		return "", err
	}
	for name, value := range carriers {
		entries = append(entries, TaskResult(name, value))
	}
	slices.SortFunc(entries, func(a, b result.RunResult) int { return cmp.Compare(a.Key, b.Key) })
	var message any = entries
	if step.Message != nil {
		message = step.Message(entries)
	}
	if text, ok := message.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(message)
	return string(data), err
}

// carriers returns a step's signing material by name.
func (r *Run) carriers(c *Cluster, index int) (map[string]string, error) {
	step := &r.Steps[index]
	switch {
	case step.Bare:
		return nil, nil
	case step.Unsigned != "":
		return map[string]string{signing.CarrierManifest: signing.UnsignedManifest(step.Unsigned).Value}, nil
	}
	unit, err := r.unit(index)
	if err != nil {
		return nil, err
	}
	carriers, err := r.evidence(c, index, unit)
	if err != nil {
		return nil, err
	}
	if step.Carriers != nil {
		step.Carriers(carriers)
	}
	return carriers, nil
}

// unit returns what a step vouches for.
func (r *Run) unit(index int) (signing.Unit, error) {
	step := &r.Steps[index]
	podUID, err := signing.ParseUID(r.PodUID)
	if err != nil {
		return signing.Unit{}, err
	}
	uid, err := signing.ParseUID(r.UID)
	if err != nil {
		return signing.Unit{}, err
	}
	entries, err := signing.EntriesOf(step.Entries)
	if err != nil {
		return signing.Unit{}, err
	}
	unit := signing.Unit{
		Header: signing.Header{
			Scheme: signing.SchemeOIDCPayloadBound, PodUID: podUID, TaskRunUID: uid,
			SignedAt: signedAt(), Index: uint8(index), Count: uint8(len(r.Steps)), // #nosec G115 -- a few steps
			Entries: uint16(len(entries)), // #nosec G115 -- a few entries
		},
		Namespace: r.Namespace, TaskRun: r.Name, Pod: r.PodName(), Container: tekton.StepContainer(step.Name),
		ExitCode: step.ExitCode, Entries: entries,
	}
	if r.Scheme != 0 {
		unit.Header.Scheme = r.Scheme
	}
	unit.Header.Algorithm = unit.Header.Scheme.Algorithm()
	if r.Scheme == signing.SchemeSPIRE && r.Key != nil {
		unit.Header.Algorithm = signing.AlgorithmOf(r.Key.Public())
	}
	if index == len(r.Steps)-1 {
		unit.Header.Flags |= signing.FlagLast
	}
	if step.ExitCode != 0 && r.Failed {
		unit.Header.Flags |= signing.FlagStepFails
	}
	if step.Change != nil {
		step.Change(&unit)
	}
	return unit, nil
}

// DropCarriers removes the signing material from status.results, as the add-on does after it verified the
// TaskRun.
func DropCarriers(tr *v1.TaskRun) {
	legacy := slices.ContainsFunc(tr.Status.Results, func(r v1.TaskRunResult) bool {
		return r.Name == signing.CarrierManifest && !strings.Contains(r.Value.StringVal, ":")
	})
	tr.Status.Results = slices.DeleteFunc(tr.Status.Results, func(r v1.TaskRunResult) bool {
		return signing.IsReserved(r.Name) || legacy && signing.IsLegacyCarrier(r.Name)
	})
}
