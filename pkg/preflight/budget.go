// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

func budgetChecks() []Check {
	return []Check{{
		ID: "TS701", Group: GroupBudget, Title: "the evidence of every Task fits into its termination messages",
		Why: "the containers of a pod share 12 KiB for termination messages; in a pod with many, evidence finds no room",
		Fix: "Split the Task, turn on enable-termination-message-compression in ConfigMap feature-flags, " +
			"or let receipts take the place of evidence (--receipts fallback).",
		Run: checkBudget, Skip: nothingInPods,
	}}
}

var tasks = schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "tasks"}

// checkBudget injects the signer into a pod as Tekton would make it for each Task in scope.
func checkBudget(ctx context.Context, f *Facts) []status.Check {
	by, _, err := f.delivery(ctx)
	if err != nil {
		return unread("the nodes", err)
	}
	options := f.injection(by)
	if f.backend().Tokens {
		if options.Tokens, err = f.tokenForm(ctx); err != nil {
			return unread("the keys of the cluster's issuer, which determine how long tokens are", err)
		}
	}
	options.SignerImage = "signer" // not pulled
	return f.judgeTasks(ctx, options)
}

// judgeTasks looks at every Task in scope, page by page.
func (f *Facts) judgeTasks(ctx context.Context, options inject.Options) []status.Check {
	j := taskJudge{
		options: options, image: inject.ReleaseImage(f.Tekton.Controller.Version),
		lacking: map[settings.Enforcement][]string{},
	}
	err := enable.Each(ctx, f.Clients.Dynamic.Resource(tasks).List, func(task *unstructured.Unstructured) {
		if f.InScope(task.GetNamespace()) {
			j.judge(task, f.modeOf(task.GetNamespace()))
		}
	})
	switch {
	case apierrors.IsNotFound(err):
		return pass("there are no Tasks")
	case err != nil:
		return unread("the Tasks of all namespaces", err)
	}
	return f.budgetFindings(j)
}

func (f *Facts) modeOf(namespace string) settings.Enforcement {
	for _, ns := range f.Namespaces.List {
		if ns.Name == namespace {
			return f.Settings.EnforcementOf(ns.Labels)
		}
	}
	return f.Settings.Enforcement
}

// taskJudge collects the Tasks whose steps cannot sign.
type taskJudge struct {
	options inject.Options
	image   string // of Tekton's entrypoint
	seen    int
	lacking map[settings.Enforcement][]string // by the mode of their namespaces: names
	why     string                            // for the first of them
}

func (j *taskJudge) judge(object *unstructured.Unstructured, mode settings.Enforcement) {
	j.seen++
	var task v1.Task
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &task); err != nil {
		return // Tekton does not run it either
	}
	var skipped *inject.SkippedError
	_, err := inject.Pod(inject.ModelOf(task.Namespace, j.image, inject.ShapeOf(task.Spec)), j.options)
	if !errors.As(err, &skipped) {
		return
	}
	name := fmt.Sprintf("%s/%s (%d steps)", task.Namespace, task.Name, len(task.Spec.Steps))
	j.lacking[mode] = append(j.lacking[mode], name)
	if j.why == "" {
		j.why = name + ": " + skipped.Reason
	}
}

func (f *Facts) budgetFindings(j taskJudge) []status.Check {
	audit, enforced := j.lacking[settings.Audit], j.lacking[settings.Enforce]
	if len(audit)+len(enforced) == 0 {
		return pass("Tasks in scope: %d", j.seen)
	}
	var found []status.Check
	for _, group := range []struct {
		mode  settings.Enforcement
		tasks []string
	}{{settings.Enforce, enforced}, {settings.Audit, audit}} {
		if len(group.tasks) > 0 {
			found = append(found, f.budgetFinding(group.mode, group.tasks, j.why))
		}
	}
	return found
}

// budgetFinding reports Tasks that cannot sign. A receipt takes the place of their evidence where it counts.
func (f *Facts) budgetFinding(mode settings.Enforcement, tasks []string, why string) status.Check {
	check := status.Check{Got: names.Few(tasks), Expected: "room for the evidence of every step"}
	switch receipts := f.Settings.ReceiptsIn(mode); {
	case receipts:
		check.Status, check.Expected, check.Got = verify.Note, "", ""
		check.Message = fmt.Sprintf("%d Tasks have no room for evidence, and are verified by receipts: %s", len(tasks),
			names.Few(tasks))
	case mode == settings.Enforce:
		check.Status = verify.Fail
		check.Message = "every TaskRun of these Tasks fails where results are enforced. " + why
		check.Next = f.Enable + " --receipts fallback, or as the message says"
	default:
		check.Status = verify.Warn
		check.Message = "the TaskRuns of these Tasks stay unsigned. " + why
		check.Next = f.Enable + " --receipts fallback, or as the message says"
	}
	return check
}

// tokenForm returns the form of the shortest tokens that the cluster's issuer signs.
func (f *Facts) tokenForm(ctx context.Context) (inject.TokenForm, error) {
	read, err := trust.Fetch(ctx, f.Clients.Kube.CoreV1().RESTClient(), "")
	if err != nil {
		return inject.TokenForm{}, err
	}
	return inject.ShortestTokens(read), nil
}
