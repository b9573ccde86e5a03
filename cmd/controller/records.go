// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/apiserver"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// recorders is how many TaskRuns are recorded at a time.
const recorders = 4

// recordTimeout bounds each group of requests that recording a TaskRun makes.
const recordTimeout = 10 * time.Second

// taskRunHook is called with a TaskRun.
type taskRunHook func(*unstructured.Unstructured)

// taskRunHooks are what other reconcilers want to hear of TaskRuns, so that the add-on watches them once.
type taskRunHooks struct {
	seen    []taskRunHook // every TaskRun, again after each change
	gone    taskRunHook   // those that were deleted
	refused taskRunHook   // those whose pods were not created
}

func (h taskRunHooks) see(taskRun *unstructured.Unstructured) {
	for _, hook := range h.seen {
		hook(taskRun)
	}
}

// newRecordsController makes the reconciler of records. It judges TaskRuns that started after their namespace got its
// grant. Older ones could not sign, and anyone may have created their pods.
func (a *addOn) newRecordsController(ctx context.Context, hooks taskRunHooks) *controller.Impl {
	records := reconciler.NewRecords(reconciler.RecordsConfig{
		Client:  a.client,
		Dynamic: a.dynamic,
		Ready:   func() bool { return a.Ready() && a.trust.Ready() && a.sealKey().Usable() },
		Wanted: func(namespace string, created time.Time) bool {
			since, granted := a.grants.Since(namespace)
			return a.settings.Get().Backend != signing.BackendNone && a.namespaces.InScope(namespace) && granted &&
				!created.Before(since)
		},
		Proof:     a.proof(),
		Cluster:   a.clusterUID,
		Token:     a.recordToken,
		OnCatchUp: a.metrics.CatchUp,
		OnRecord:  a.metrics.Record,
		OnVerdict: a.metrics.Verdict,
		OnGivenUp: a.metrics.RecordGivenUp,
		OnSeen:    hooks.see,
		OnGone:    hooks.gone,
		OnRefused: hooks.refused,
		Version:   version.Get().Version,
		Now:       time.Now,
		Log:       a.log,
	})
	queue := controller.NewContext(ctx, records, controller.ControllerOptions{
		WorkQueueName: "records", Logger: logging.FromContext(ctx).Named("records"), Concurrency: recorders,
	})
	records.Start(ctx, queue)
	return queue
}

// proof recognizes verdicts of the add-on.
func (a *addOn) proof() reconciler.Proof {
	return reconciler.Proof{SealKey: a.sealKey, Recorded: a.recorded}
}

// recorded returns the verdict in a TaskRun's record, judged by the namespace's mode.
func (a *addOn) recorded(ctx context.Context, tr *v1.TaskRun) (verify.Verdict, bool) {
	rules := admission.RulesOf(a.settings.Get(), a.namespaces.Enforcement(tr.Namespace))
	return a.trust.Recorded(ctx, rules, tr)
}

// clusterUID returns the UID of the cluster.
func (a *addOn) clusterUID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	cluster, err := a.history.Cluster(ctx)
	if err != nil {
		return "", err
	}
	return cluster.UID, nil
}

// recordToken requests a token of the add-on itself for a record. It is bound to this pod, and API servers do not
// accept it.
func (a *addOn) recordToken(ctx context.Context, digest signing.Digest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	audience := signing.RecordAudience(a.settings.Get().Tokens.Audience, digest)
	granted, err := a.client.CoreV1().ServiceAccounts(manifests.Namespace).CreateToken(ctx, manifests.ServiceAccount,
		apiserver.NewPodRequest(audience, a.pod.name, types.UID(a.pod.uid)), metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return granted.Status.Token, nil
}
