// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Reported is what the kubelet reported about a pod, as the API server returned it.
type Reported struct {
	Node         string
	RuntimeClass string
	Phase        corev1.PodPhase
	Created      time.Time
	Containers   int                      // number of the pod's steps
	Steps        []corev1.ContainerStatus // of steps with a status, in the order of the pod's containers
	Log          ResultsLog               // if a results sidecar logs the values, messages do not have them
}

// ReportOf returns what the kubelet reported about a pod.
func ReportOf(pod *corev1.Pod) *Reported {
	r := &Reported{Node: pod.Spec.NodeName, Phase: pod.Status.Phase, Created: pod.CreationTimestamp.UTC()}
	if pod.Spec.RuntimeClassName != nil {
		r.RuntimeClass = *pod.Spec.RuntimeClassName
	}
	r.Log = logOf(pod)
	for i := range pod.Spec.Containers {
		name := pod.Spec.Containers[i].Name
		if tekton.IsStep(name) {
			r.Containers++
		}
		for _, status := range pod.Status.ContainerStatuses {
			if status.Name == name && tekton.IsStep(name) {
				r.Steps = append(r.Steps, status)
			}
		}
	}
	return r
}

// WithReceipts accepts a receipt for steps that left no evidence: the TaskRun is compared with what the
// kubelet reported about its live pod (Facts.Pod.Reported). It is for callers that read the pod from an API
// server that they trust, which is the add-on. A record with a receipt does not need this option.
func WithReceipts() Option { return func(v *Verifier) { v.receipts = true } }

// NeedsReceipt reports whether a step of the TaskRun left no evidence, so that the caller should read the
// status of its pod.
func NeedsReceipt(tr *v1.TaskRun) bool {
	r, found := newRun(tr), &findings{}
	if tooManySteps(r, found) {
		return false
	}
	steps, _ := readSteps(r, nil, found)
	p := placement{run: r, found: found, steps: steps, receipts: true}
	if p.anyCarrier() {
		p.cover()
		return p.bare > 0
	}
	return len(steps) > 0
}

// receiptCaveat is what a reader should know of a receipt, depending on whether steps signed.
func receiptCaveat(signed bool) string {
	who := "nothing in the pod signed"
	if signed {
		who = "not every step signed"
	}
	return who + ": the add-on compared the TaskRun with what the kubelet reported of its pod"
}

// anySigned reports whether a step left evidence.
func anySigned(steps []*step) bool {
	return slices.ContainsFunc(steps, func(s *step) bool {
		_, unsigned := s.unsigned()
		return len(s.carriers) > 0 && !unsigned
	})
}

// receiver is the stage receipt. It checks that the TaskRun shows what the kubelet reported about its pod.
type receiver struct {
	run
	found *findings
	steps []*step
}

// receive compares the steps of the TaskRun with the report about its pod. It returns the receipt, or nil if
// there is none.
func (v *Verifier) receive(r run, steps []*step, found *findings) *record.Receipt {
	stage := receiver{r, found, steps}
	reported := stage.report()
	if reported == nil {
		return nil
	}
	if want := r.podName(); r.tr.Status.PodName != want {
		found.fail(CheckPod, want, fmt.Sprintf("%q", r.tr.Status.PodName),
			"Tekton gives the pod of this attempt another name")
	}
	stage.endedByItself(reported)
	stage.compare(reported.Steps)
	stage.exitCodes(reported)
	found.add(v.minimum.checkAssurance(signing.AssuranceReceipt)...)
	found.caveat(receiptCaveat(anySigned(steps)))
	found.pass(CheckReceipt, fmt.Sprintf("%s as the kubelet reported them", count(len(reported.Steps), "step")))
	return receiptOf(reported)
}

// report returns the report about the TaskRun's own pod. If there is none, it adds a check with the reason.
func (r *receiver) report() *Reported {
	pod := r.facts.Pod
	doubt := func(got, message string) *Reported {
		r.found.add(check.Doubted(CheckReceipt, "the status of the TaskRun's own pod "+r.tr.Status.PodName, got, message))
		return nil
	}
	switch {
	case !r.facts.Live || pod == nil || pod.Found && pod.Reported == nil:
		return doubt("nothing: it was not read", "the status of the pod was not read, so there is no receipt")
	case !pod.Found:
		return doubt("no such pod", "the pod was gone before the add-on read it, so there is no receipt")
	case pod.ControllerUID != r.tr.UID || r.tr.UID == "":
		return doubt(fmt.Sprintf("a pod with the controller %q", pod.ControllerUID), "the pod is another object's")
	case pod.Unfenced:
		return doubt("a pod that is older than the policies that keep others from imitating it",
			"anyone who could create pods may have created it")
	case !slices.Contains(record.Phases(), string(pod.Reported.Phase)):
		return doubt("no phase of a pod", "the kubelet reports a phase that this version does not know")
	case pod.Reported.Node == "" && len(pod.Reported.Steps) > 0:
		return doubt("containers of a pod without a node", "no kubelet ran the pod, so none reported about it")
	case len(pod.Reported.Steps) > record.MaxReceiptSteps:
		return doubt(count(len(pod.Reported.Steps), "step"),
			fmt.Sprintf("a receipt describes at most %d steps: split the Task", record.MaxReceiptSteps))
	case pod.Reported.Log.Restarted || slices.ContainsFunc(pod.Reported.Steps, restarted):
		return doubt("a container that was restarted",
			"containers of Tekton run once: someone changed the image of this one, so that another program ran")
	case slices.ContainsFunc(pod.Reported.Steps, tooLongFor):
		return doubt("a container with a name, reason or image of more than a receipt holds", "the record would be too long")
	case len(r.declared().Results)*len(pod.Reported.Steps) > maxDeclarations:
		return doubt(count(len(r.declared().Results), "declared result"), "there are too many of them to compare")
	case !mergeable(pod.Reported.Steps, pod.Reported.Log.Entries):
		return doubt("messages with too many values", "there are too many of them to compare")
	case pod.Reported.Log.Used && pod.Reported.Log.Digest == "":
		return doubt("values that travel by the log of Tekton's results sidecar, which was not read",
			"no receipt covers them: "+cmp.Or(pod.Reported.Log.Missing, logsOff))
	}
	return pod.Reported
}

// logsOff is why the add-on did not try to read a log.
const logsOff = "the add-on may not read it, see the setting read-sidecar-logs"

// maxText caps the texts about one container in a receipt, in bytes: the seal and the record must hold 100 of
// them.
const maxText = 640

func tooLongFor(c corev1.ContainerStatus) bool {
	n := len(c.Name) + len(c.ImageID)
	if t := c.State.Terminated; t != nil {
		n += len(t.Reason)
	}
	return n > maxText
}

// restarted reports whether the kubelet ran a container more than once. It restarts a container whose image was
// changed, whatever the pod's restart policy.
func restarted(c corev1.ContainerStatus) bool { return c.RestartCount > 0 }

// compare checks that the steps of the TaskRun are what Tekton makes from the report.
func (r *receiver) compare(reported []corev1.ContainerStatus) {
	declared := *r.declared()
	declared.Results = slices.Clone(declared.Results)
	for i := range declared.Results {
		declared.Results[i].Value = nil // the stage replay compares promoted results, within its caps
	}
	want, _ := merge.Merge(&declared, reported, nil) // Tekton stores the steps even with an error
	if wantNames, got := containersOf(want.Steps), containersOf(r.tr.Status.Steps); !slices.Equal(wantNames, got) {
		if len(got) > 0 || !r.mayBeEmpty() {
			r.found.fail(CheckReceipt, fmt.Sprintf("the steps %q", wantNames), fmt.Sprintf("%q", got),
				"the TaskRun shows other steps than its pod has")
		}
		return
	}
	for i := range want.Steps {
		r.compareStep(&want.Steps[i], r.steps[i])
	}
}

func containersOf(steps []v1.StepState) []string {
	names := make([]string, len(steps))
	for i := range steps {
		names[i] = steps[i].Container
	}
	return names
}

// compareStep compares one step. If Tekton ends the run, it writes the end of the step itself, without a
// report of the kubelet.
func (r *receiver) compareStep(want *v1.StepState, s *step) {
	if s.ended && s.state.Terminated.Reason == r.failureReason() {
		r.found.add(Check{
			ID: CheckReceipt, Status: Unknown, Step: s.state.Container,
			Expected: "the end of the step as the kubelet reported it",
			Got:      r.outcomeText(), Message: "Tekton ended the run, and the kubelet did not report how the step ended",
		})
		return
	}
	message := messageText(s.state.Terminated)
	if stripped, ok := signing.WithoutEvidence(messageText(want.Terminated)); ok && stripped == message {
		r.found.add(Check{
			ID: CheckReceipt, Status: Unknown, Step: s.state.Container, Expected: "the evidence that the step left",
			Got: string(signing.UnsignedTooLong), Message: "the TaskRun had no room for it, and was stored without",
		})
		message = messageText(want.Terminated)
	}
	for _, c := range []struct{ what, want, got string }{
		{"state", stateText(want.ContainerState), stateText(s.state.ContainerState)},
		{"termination message", shownMessage(messageText(want.Terminated)), shownMessage(message)},
		{"image", want.ImageID, s.state.ImageID},
		{"name", want.Name, s.state.Name},
	} {
		if c.want != c.got {
			r.found.add(Check{
				ID: CheckReceipt, Status: Fail, Step: s.state.Container, Expected: cmp.Or(c.want, "none"),
				Got: cmp.Or(c.got, "none"), Message: "the TaskRun shows another " + c.what + " than the kubelet reported",
			})
		}
	}
}

func stateText(s corev1.ContainerState) string {
	switch {
	case s.Terminated != nil:
		return fmt.Sprintf("terminated: %s, exit code %d", s.Terminated.Reason, s.Terminated.ExitCode)
	case s.Running != nil:
		return "running"
	}
	return "waiting"
}

func messageText(t *corev1.ContainerStateTerminated) string {
	if t == nil {
		return ""
	}
	return t.Message
}

// shownMessage is how a check shows a message: it contains results that did not verify.
func shownMessage(message string) string {
	if message == "" {
		return "none"
	}
	return "sha256:" + record.MessageDigest(message)
}

// oomKilled is the reason of a container that Tekton takes as failed whatever its exit code.
const oomKilled = "OOMKilled"

// exitCodes checks that no container failed in a TaskRun that succeeded. If a step may fail, its entrypoint
// exits with 0 and leaves the exit code in the message.
func (r *receiver) exitCodes(reported *Reported) {
	if !r.succeeded() {
		return
	}
	if n := len(reported.Steps); n == 0 || n != reported.Containers {
		r.found.fail(CheckSucceeded, "a status of each container of the pod", fmt.Sprintf("%d of %d", n, reported.Containers),
			"the pod never ran to its end, so the TaskRun cannot have succeeded")
	}
	for _, c := range reported.Steps {
		if t := c.State.Terminated; t == nil || t.ExitCode != 0 || t.Reason == oomKilled {
			r.found.add(Check{
				ID: CheckSucceeded, Status: Fail, Step: c.Name, Expected: "Succeeded=False", Got: r.outcomeText(),
				Message: "the kubelet reported that the container failed, or never ended: " + stateText(c.State),
			})
		}
	}
}

// endedByItself doubts a run that Tekton stopped, and one whose pod has not ended: someone else may have ended that.
func (r *receiver) endedByItself(reported *Reported) {
	if slices.Contains(stoppedReasons, r.failureReason()) || !reported.ended() {
		r.found.add(check.Doubted(CheckReceipt, "a pod that has ended by itself",
			fmt.Sprintf("%s, and the pod's phase %q", r.outcomeText(), reported.Phase),
			"the run was ended while its pod ran, so the kubelet did not report how all of it ended"))
	}
}

// ended reports whether Tekton takes the pod as ended: as soon as its steps have ended, or one ran out of memory.
func (r *Reported) ended() bool {
	running := 0
	for _, c := range r.Steps {
		switch t := c.State.Terminated; {
		case t == nil:
			running++
		case t.Reason == oomKilled:
			return true
		}
	}
	all := len(r.Steps) > 0 && len(r.Steps) == r.Containers && running == 0
	return all || r.Phase == corev1.PodSucceeded || r.Phase == corev1.PodFailed
}

// receiptOf returns the report in the form of a record.
func receiptOf(reported *Reported) *record.Receipt {
	out := &record.Receipt{
		Node: reported.Node, RuntimeClass: reported.RuntimeClass, Phase: string(reported.Phase),
		Created: reported.Created.UTC().Truncate(time.Second), Log: reported.Log.Digest, Steps: []record.Step{},
	}
	for _, c := range reported.Steps {
		s := record.Step{Container: c.Name, ImageID: c.ImageID}
		if t := c.State.Terminated; t != nil {
			s.ExitCode, s.Reason, s.Message = t.ExitCode, t.Reason, record.MessageDigest(t.Message)
		}
		out.Steps = append(out.Steps, s)
	}
	return out
}

// receipted uses a record with a receipt as what the add-on saw of the pod.
func (v *Verifier) receipted(r run, made *recorded, steps []*step, found *findings) {
	found.pass(CheckReceipt, "the add-on recorded what the kubelet reported of the pod")
	found.pass(CheckCoverage, "the add-on's record covers every step")
	found.caveat(receiptCaveat(made.Basis == record.BasisBoth), "they were equal, according to "+made.subject)
	for i, s := range made.Receipt.Steps {
		if i >= len(steps) {
			break
		}
		if got := steps[i].state; got.Container != s.Container || got.ImageID != s.ImageID {
			found.add(Check{
				ID: CheckReceipt, Status: Fail, Step: s.Container, Expected: s.Container + ", image " + s.ImageID,
				Got:     got.Container + ", image " + got.ImageID,
				Message: "the TaskRun shows another container or image than the record",
			})
		}
	}
	v.believe(r, made, steps, found)
}

// receiptedAttempt uses the entry for an attempt in the TaskRun's record as what the add-on saw of the
// attempt's pod. It reports whether the attempt has not changed since.
func (v *Verifier) receiptedAttempt(r run, steps []*step, found *findings) bool {
	want := *r.facts.Attempt
	got, err := record.AttemptOf(r.tr, Attempts(r.tr))
	if err != nil || !want.Covers(got) {
		found.fail(CheckReceipt, "sha256:"+want.TaskRun, "sha256:"+got.TaskRun,
			"the attempt was changed after it was recorded")
		return false
	}
	found.pass(CheckReceipt, "the add-on recorded that the attempt was as the kubelet reported its pod")
	if got == want {
		found.caveat(receiptCaveat(anySigned(steps)))
	} else {
		found.caveat("the steps' messages are gone: the add-on compared the attempt with what the kubelet reported of " +
			"its pod")
	}
	found.add(v.minimum.checkAssurance(signing.AssuranceReceipt)...)
	outcome{r, found, steps, nil}.check()
	found.proven = true
	return true
}
