// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// cluster is a cluster whose TaskRuns end at once.
type cluster struct {
	create  error
	end     func(*v1.TaskRun) // changes the TaskRun that ended well; nil: nothing
	runs    bool              // TaskRuns never end
	verdict func(tr *v1.TaskRun) (verify.Result, error)
}

// value returns the result that the canary's step was told to write.
func value(tr *v1.TaskRun) string {
	command := tr.Spec.TaskSpec.Steps[0].Command
	return command[len(command)-1]
}

// tester returns a Tester of the cluster, and its client.
func (c cluster) tester() (*Tester, *fake.FakeDynamicClient) {
	taskRuns := v1.SchemeGroupVersion.WithResource("taskruns")
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{taskRuns: "TaskRunList"})
	client.PrependReactor("create", "taskruns", func(a k8stesting.Action) (bool, runtime.Object, error) {
		object := a.(k8stesting.CreateAction).GetObject().(*unstructured.Unstructured)
		object.SetName(object.GetGenerateName() + "abcde")
		object.SetUID("uid-of-the-canary")
		return c.create != nil, nil, c.create
	})
	client.PrependReactor("get", "taskruns", func(a k8stesting.Action) (bool, runtime.Object, error) {
		name := a.(k8stesting.GetAction).GetName()
		object, err := client.Tracker().Get(taskRuns, a.GetNamespace(), name)
		if err != nil || c.runs {
			return true, object, err
		}
		ended, err := c.ended(object.(*unstructured.Unstructured))
		return true, ended, err
	})
	return &Tester{
		Client: client, Image: "signer:v1", Timeout: 2 * time.Second, Now: time.Now, OnStep: func(string, Step) {},
		Verify: func(_ context.Context, data []byte) (verify.Result, error) {
			tr := &v1.TaskRun{}
			if err := json.Unmarshal(data, tr); err != nil {
				return verify.Result{}, err
			}
			return c.verdict(tr)
		},
	}, client
}

func (c cluster) ended(object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	tr := &v1.TaskRun{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, tr); err != nil {
		return nil, err
	}
	tr.Status.SetCondition(&apis.Condition{Type: apis.ConditionSucceeded, Status: "True", Reason: "Succeeded"})
	tr.Status.SetCondition(&apis.Condition{Type: verify.ConditionType, Status: "True", Reason: "TaskRunResultsVerified"})
	tr.Status.Results = []v1.TaskRunResult{{Name: resultName, Value: *v1.NewStructuredValues(value(tr))}}
	tr.Status.Steps = []v1.StepState{{ContainerState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: `[{"key":"canary","value":"` + value(tr) + `"}]`},
	}}}
	if c.end != nil {
		c.end(tr)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(tr)
	return &unstructured.Unstructured{Object: content}, err
}

// honest verifies what the canary's step wrote, and nothing else.
func honest(tr *v1.TaskRun) (verify.Result, error) {
	if tr.Status.Results[0].Value.StringVal == value(tr) {
		return verify.Result{Verdict: verify.Verified}, nil
	}
	return verify.Result{Verdict: verify.Failed, Reason: "results"}, nil
}

// consistent compares the result with the message only, and no signature.
func consistent(tr *v1.TaskRun) (verify.Result, error) {
	if strings.Contains(tr.Status.Steps[0].Terminated.Message, tr.Status.Results[0].Value.StringVal) {
		return verify.Result{Verdict: verify.Verified}, nil
	}
	return verify.Result{Verdict: verify.Failed, Reason: "results"}, nil
}

func says(r verify.Result, err error) func(*v1.TaskRun) (verify.Result, error) {
	return func(*v1.TaskRun) (verify.Result, error) { return r, err }
}

func always(v verify.Verdict) func(*v1.TaskRun) (verify.Result, error) {
	return says(verify.Result{Verdict: v}, nil)
}

func TestRun(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "taskruns"}, "", errors.New("no"))
	for name, tc := range map[string]struct {
		cluster
		failed StepID // empty: none
		text   string // in its message, in what it got, or in the next step
	}{
		"all is well":          {cluster{verdict: honest}, "", ""},
		"may not create":       {cluster{create: forbidden}, StepStart, "can-i create taskruns.tekton.dev -n ci"},
		"never ends":           {cluster{runs: true}, StepRun, "did not end within 2s"},
		"fails":                {cluster{end: fails}, StepRun, "False/Broken: the pod broke"},
		"loses its result":     {cluster{end: func(tr *v1.TaskRun) { tr.Status.Results = nil }}, StepRun, "another result"},
		"another result":       {cluster{end: another}, StepRun, "another result"},
		"unsigned":             {cluster{verdict: always(verify.Unsigned)}, StepVerify, "UNSIGNED"},
		"cannot be verified":   {cluster{verdict: says(verify.Result{}, errors.New("no keys"))}, StepVerify, "no keys"},
		"no verdict":           {cluster{verdict: says(verify.Result{}, nil)}, StepVerify, ""},
		"without a condition":  {cluster{verdict: honest, end: withoutCondition}, StepCondition, "no such condition"},
		"verifies everything":  {cluster{verdict: always(verify.Verified)}, StepTampered, "VERIFIED"},
		"believes messages":    {cluster{verdict: consistent}, StepTampered, "changed messages was not refused"},
		"a verdict by mistake": {cluster{verdict: onlyOnce()}, StepTampered, "INDETERMINATE"},
	} {
		t.Run(name, func(t *testing.T) {
			tester, client := tc.tester()
			r := tester.Run(t.Context(), []string{"ci"})[0]
			if got := AllPassed([]Result{r}); got != (tc.failed == "") {
				t.Errorf("passed is %v: %+v", got, r)
			}
			checkSteps(t, r, tc.failed, tc.text)
			checkGone(t, client)
		})
	}
}

func fails(tr *v1.TaskRun) {
	tr.Status.SetCondition(&apis.Condition{
		Type: apis.ConditionSucceeded, Status: "False", Reason: "Broken", Message: "the pod broke",
	})
}

func another(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "forged" }

func withoutCondition(tr *v1.TaskRun) {
	tr.Status.Conditions = duckv1.Conditions{*tr.Status.GetCondition(apis.ConditionSucceeded)}
}

// onlyOnce verifies once and finds nothing out after that.
func onlyOnce() func(*v1.TaskRun) (verify.Result, error) {
	verdicts := []verify.Verdict{verify.Verified, verify.Indeterminate}
	return func(*v1.TaskRun) (verify.Result, error) {
		next := verdicts[0]
		verdicts = verdicts[1:]
		return verify.Result{Verdict: next}, nil
	}
}

// checkSteps wants all steps before the failed one to pass, and those after it to be skipped.
func checkSteps(t *testing.T, r Result, failed StepID, text string) {
	t.Helper()
	want := map[StepID]State{}
	state := Passed
	for _, id := range Steps() {
		want[id] = state
		if id == failed {
			want[id], state = Failed, Skipped
		}
	}
	if failed != StepStart {
		want[StepCleanUp] = Passed
	}
	got := map[StepID]State{}
	for _, s := range r.Steps {
		got[s.ID] = s.State
		if s.ID == failed && !strings.Contains(s.Message+s.Got+s.Next, text) {
			t.Errorf("step %s: want %q in %+v", s.ID, text, s)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func checkGone(t *testing.T, client *fake.FakeDynamicClient) {
	t.Helper()
	left, err := client.Resource(v1.SchemeGroupVersion.WithResource("taskruns")).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("canaries that are left: %v, %v", left, err)
	}
}

// TestInterrupted wants the canary to be deleted after Ctrl-C, and nothing to pass.
func TestInterrupted(t *testing.T) {
	tester, client := cluster{runs: true}.tester()
	ctx, cancel := context.WithCancel(t.Context())
	tester.OnStep = func(_ string, s Step) {
		if s.ID == StepStart {
			cancel()
		}
	}
	r := tester.Run(ctx, []string{"ci"})
	if AllPassed(r) {
		t.Errorf("want no success, got %+v", r)
	}
	checkGone(t, client)
}

// TestInterruptedCreate: Ctrl-C while the API server creates the canary leaves none behind. After it, none is created.
func TestInterruptedCreate(t *testing.T) {
	tester, client := cluster{runs: true}.tester()
	ctx, cancel := context.WithCancel(t.Context())
	client.PrependReactor("create", "taskruns", func(k8stesting.Action) (bool, runtime.Object, error) {
		cancel()
		return false, nil, nil
	})
	tester.Client = contextClient{client}
	for _, want := range []State{Passed, Failed} {
		if r := tester.Run(ctx, []string{"ci"}); AllPassed(r) || r[0].Steps[0].State != want {
			t.Errorf("want the creation to have %s, and no success, got %+v", want, r)
		}
	}
	checkGone(t, client)
}

// contextClient is a client whose Create fails if its context has ended meanwhile, as one over the network does.
type contextClient struct{ dynamic.Interface }

func (c contextClient) Resource(r schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return contextResource{c.Interface.Resource(r)}
}

type contextResource struct {
	dynamic.NamespaceableResourceInterface
}

func (c contextResource) Namespace(name string) dynamic.ResourceInterface {
	return contextNamespace{c.NamespaceableResourceInterface.Namespace(name)}
}

type contextNamespace struct{ dynamic.ResourceInterface }

func (c contextNamespace) Create(ctx context.Context, o *unstructured.Unstructured, options metav1.CreateOptions,
	sub ...string) (*unstructured.Unstructured, error) {
	created, err := c.ResourceInterface.Create(ctx, o, options, sub...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return created, err
}

// TestReplaced: another TaskRun of the canary's name is no success, and stays.
func TestReplaced(t *testing.T) {
	tester, client := cluster{verdict: honest}.tester()
	taskRuns := v1.SchemeGroupVersion.WithResource("taskruns")
	tester.OnStep = func(_ string, s Step) {
		if s.ID != StepStart {
			return
		}
		name := strings.TrimPrefix(s.Message, "taskrun/")
		object, err := client.Tracker().Get(taskRuns, "ci", name)
		if err != nil {
			t.Fatal(err)
		}
		other := object.(*unstructured.Unstructured).DeepCopy()
		other.SetUID("another")
		if err := client.Tracker().Update(taskRuns, other, "ci"); err != nil {
			t.Fatal(err)
		}
	}
	var uids []string
	client.PrependReactor("delete", "taskruns", func(a k8stesting.Action) (bool, runtime.Object, error) {
		if p := a.(k8stesting.DeleteActionImpl).DeleteOptions.Preconditions; p != nil {
			uids = append(uids, string(*p.UID))
		}
		return false, nil, nil
	})
	r := tester.Run(t.Context(), []string{"ci"})[0]
	if r.State != Failed || !strings.Contains(r.Steps[1].Message, "replaced") {
		t.Errorf("want the replaced canary to fail, got %+v", r)
	}
	if diff := cmp.Diff([]string{"uid-of-the-canary"}, uids); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

func TestKeep(t *testing.T) {
	tester, client := cluster{verdict: honest}.tester()
	tester.Keep = true
	r := tester.Run(t.Context(), []string{"ci"})[0]
	if _, err := client.Resource(v1.SchemeGroupVersion.WithResource("taskruns")).Namespace("ci").
		Get(t.Context(), r.TaskRun, metav1.GetOptions{}); err != nil || r.State != Passed {
		t.Errorf("want a success and the canary to stay: %v, %+v", err, r)
	}
}

func TestAllPassed(t *testing.T) {
	if AllPassed(nil) {
		t.Error("nothing was tested, and that passes")
	}
}
