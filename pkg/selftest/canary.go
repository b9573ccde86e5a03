// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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
	// cleanUpTimeout bounds the deletion, which goes on after an interrupt.
	cleanUpTimeout = 10 * time.Second
)

// canary is the TaskRun of one namespace.
type canary struct {
	tester    *Tester
	namespace string

	name    string // empty: not created
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
	created, err := c.client().Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	if err != nil {
		s := failed("creating a TaskRun: %v", err)
		if apierrors.IsForbidden(err) {
			s.Next = "kubectl auth can-i create taskruns.tekton.dev -n " + c.namespace
		}
		return s
	}
	c.name = created.GetName()
	return Step{State: Passed, Message: "taskrun/" + c.name}
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

// tampered verifies a copy whose result was changed, as somebody could do who may write the status.
func (c *canary) tampered(ctx context.Context) Step {
	changed := c.taskRun.DeepCopy()
	changed.Status.Results[0].Value.StringVal = "tampered"
	data, err := json.Marshal(changed)
	if err != nil {
		return failed("making the copy: %v", err)
	}
	r, err := c.tester.Verify(ctx, data)
	if err != nil {
		return failed("verifying the copy: %v", err)
	}
	if r.Verdict != verify.Failed {
		return Step{
			State: Failed, Message: "a copy with a changed result was not refused",
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
	if err := c.client().Delete(ctx, c.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		s := failed("deleting TaskRun %s: %v", c.name, err)
		s.Next = fmt.Sprintf("kubectl delete taskruns -n %s -l %s=true", c.namespace, Label)
		return s
	}
	return Step{State: Passed}
}

func failed(format string, args ...any) Step {
	return Step{State: Failed, Message: fmt.Sprintf(format, args...)}
}
