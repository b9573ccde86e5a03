// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

const (
	// Label marks canaries, with the value true.
	Label = "tekton-sign.dev/selftest"
	// resultName is the result that a canary emits.
	resultName = "canary"
	// pollInterval is the time between two looks at a canary.
	pollInterval = 500 * time.Millisecond
	// createTimeout bounds the creation, which goes on after an interrupt. Webhooks may take 30 s.
	createTimeout = 35 * time.Second
	// cleanUpTimeout bounds the deletion, which goes on after an interrupt.
	cleanUpTimeout = 10 * time.Second
)

// canary is the TaskRun of one namespace.
type canary struct {
	tester    *Tester
	namespace string

	name    string // empty: not created
	uid     types.UID
	value   string // of its result
	taskRun *v1.TaskRun
	data    []byte // the TaskRun as the API server returned it
	verdict verify.Result
}

func (c *canary) client() dynamic.ResourceInterface {
	return c.tester.Client.Resource(v1.SchemeGroupVersion.WithResource("taskruns")).Namespace(c.namespace)
}

// start creates the canary.
func (c *canary) start(ctx context.Context) Step {
	c.value = rand.Text()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c.manifest())
	if err != nil {
		return failed("making the canary TaskRun: %v", err)
	}
	created, err := c.create(ctx, &unstructured.Unstructured{Object: object})
	if err != nil {
		s := failed("creating a TaskRun: %v", err)
		if apierrors.IsForbidden(err) {
			s.Next = "kubectl auth can-i create taskruns.tekton.dev -n " + c.namespace
		}
		return s
	}
	c.name, c.uid = created.GetName(), created.GetUID()
	return Step{State: Passed, Message: "taskrun/" + c.name}
}

// create creates the canary. After an interrupt it waits for the answer: without the name in it, the canary could not
// be deleted.
func (c *canary) create(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	return c.client().Create(ctx, object, metav1.CreateOptions{})
}

// manifest returns a TaskRun of one step that needs no image but the signer's.
func (c *canary) manifest() *v1.TaskRun {
	no, yes := false, true
	limits := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	return &v1.TaskRun{
		TypeMeta: metav1.TypeMeta{APIVersion: v1.SchemeGroupVersion.String(), Kind: "TaskRun"},
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "tekton-sign-selftest-", Namespace: c.namespace, Labels: map[string]string{Label: "true"},
		},
		Spec: v1.TaskRunSpec{
			ServiceAccountName: c.tester.ServiceAccount,
			Timeout:            &metav1.Duration{Duration: c.tester.Timeout},
			TaskSpec: &v1.TaskSpec{
				Results: []v1.TaskResult{{Name: resultName, Type: v1.ResultsTypeString}},
				Steps: []v1.Step{{
					Name: "emit", Image: c.tester.Image,
					Command:          []string{step.ImagePath, step.CommandEmit, "$(results." + resultName + ".path)", c.value},
					ComputeResources: corev1.ResourceRequirements{Requests: limits, Limits: limits},
					SecurityContext: &corev1.SecurityContext{
						AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes,
						Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
				}},
			},
		},
	}
}

// await waits until the canary has ended, and wants its result.
func (c *canary) await(ctx context.Context) Step {
	err := wait.PollUntilContextTimeout(ctx, pollInterval, c.tester.Timeout, true, c.done)
	describe := fmt.Sprintf("run it again with --keep, then kubectl describe taskrun,pod -n %s -l %s=true",
		c.namespace, Label)
	switch {
	case ctx.Err() != nil:
		return failed("interrupted before TaskRun %s had ended", c.name)
	case c.taskRun == nil || err != nil && !wait.Interrupted(err):
		return failed("reading TaskRun %s: %v", c.name, err)
	case err != nil:
		return Step{
			State: Failed, Message: fmt.Sprintf("TaskRun %s did not end within %s", c.name, c.tester.Timeout),
			Expected: "Succeeded", Got: succeeded(c.taskRun), Next: describe,
		}
	case !c.taskRun.IsSuccessful():
		return Step{
			State: Failed, Message: "TaskRun " + c.name + " failed", Expected: "Succeeded", Got: succeeded(c.taskRun),
			Next: describe,
		}
	}
	results := c.taskRun.Status.Results
	if len(results) != 1 || results[0].Value.StringVal != c.value {
		return Step{
			State: Failed, Message: "TaskRun " + c.name + " has another result than its step wrote",
			Expected: "the result " + resultName + " with the value " + c.value, Got: fmt.Sprint(results),
		}
	}
	return Step{State: Passed}
}

// done reads the canary and reports whether it has ended.
func (c *canary) done(ctx context.Context) (bool, error) {
	object, err := c.client().Get(ctx, c.name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	if object.GetUID() != c.uid {
		return false, errors.New("somebody replaced it by another TaskRun of this name")
	}
	if c.data, err = object.MarshalJSON(); err != nil {
		return false, err
	}
	c.taskRun = &v1.TaskRun{}
	if err := json.Unmarshal(c.data, c.taskRun); err != nil {
		return false, err
	}
	return c.taskRun.IsDone(), nil
}

func (c *canary) verify(ctx context.Context) Step {
	r, err := c.tester.Verify(ctx, c.data)
	if err != nil {
		return failed("verifying TaskRun %s: %v", c.name, err)
	}
	c.verdict = r
	if r.Verdict == verify.Verified {
		return Step{State: Passed, Message: fmt.Sprintf("%s, backend %s, assurance %s", r.Verdict, r.Backend, r.Assurance)}
	}
	s := Step{
		State: Failed, Message: r.Message, Expected: string(verify.Verified), Got: string(r.Verdict),
		Next: "kubectl tekton-sign status -n " + c.namespace,
	}
	if r.Verdict == verify.Unsigned {
		s.Message = "nothing signed the result: " + r.Message
	}
	return s
}

// condition wants the verdict of the add-on, which is written with the end of the TaskRun.
func (c *canary) condition(context.Context) Step {
	found := c.taskRun.Status.GetCondition(verify.ConditionType)
	if found.IsTrue() {
		return Step{State: Passed, Message: found.Reason}
	}
	s := Step{
		State: Failed, Message: fmt.Sprintf("TaskRun %s was not verified when it ended", c.name),
		Expected: string(verify.ConditionType) + " is True", Got: "no such condition",
		Next: "kubectl tekton-sign status",
	}
	if found != nil {
		s.Got = fmt.Sprintf("%s/%s: %s", found.Status, found.Reason, found.Message)
	}
	return s
}

// tampered verifies copies whose result was changed, as somebody could do who may write the status: the result only,
// and also every place in the messages of steps that has it.
func (c *canary) tampered(ctx context.Context) Step {
	result := c.taskRun.DeepCopy()
	result.Status.Results[0].Value.StringVal = changed
	everywhere := result.DeepCopy()
	for i := range everywhere.Status.Steps {
		forge(&everywhere.Status.Steps[i], c.value)
	}
	s := c.refused(ctx, result, "a copy with a changed result")
	if s.State == Passed {
		s = c.refused(ctx, everywhere, "a copy with a changed result and changed messages")
	}
	return s
}

// changed is the result of copies.
const changed = "tampered"

// forge changes a value where a step has it. A compressed message stays as it is.
func forge(s *v1.StepState, value string) {
	for i := range s.Results {
		s.Results[i].Value.StringVal = strings.ReplaceAll(s.Results[i].Value.StringVal, value, changed)
	}
	if s.Terminated != nil {
		s.Terminated.Message = strings.ReplaceAll(s.Terminated.Message, value, changed)
	}
}

// refused verifies a copy, and wants that to fail.
func (c *canary) refused(ctx context.Context, tr *v1.TaskRun, what string) Step {
	data, err := json.Marshal(tr)
	if err != nil {
		return failed("making the copy: %v", err)
	}
	r, err := c.tester.Verify(ctx, data)
	if err != nil {
		return failed("verifying %s: %v", what, err)
	}
	if r.Verdict != verify.Failed {
		return Step{
			State: Failed, Message: what + " was not refused",
			Expected: string(verify.Failed), Got: string(r.Verdict),
			Next: "do not trust verdicts of this cluster, and report this with the output of -o json",
		}
	}
	return Step{State: Passed, Message: fmt.Sprintf("%s: %s", r.Verdict, r.Reason)}
}

// cleanUp deletes the canary, also after an interrupt.
func (c *canary) cleanUp(ctx context.Context) Step {
	switch {
	case c.name == "":
		return Step{State: Skipped}
	case c.tester.Keep:
		return Step{State: Skipped, Message: "--keep: taskrun/" + c.name + " stays"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	only := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &c.uid}} // not another one of this name
	err := c.client().Delete(ctx, c.name, only)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		s := failed("deleting TaskRun %s: %v", c.name, err)
		s.Next = fmt.Sprintf("kubectl delete taskruns -n %s -l %s=true", c.namespace, Label)
		return s
	}
	return Step{State: Passed}
}

func failed(format string, args ...any) Step {
	return Step{State: Failed, Message: fmt.Sprintf(format, args...)}
}
