// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/logging"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/reconciler"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// recorders is how many TaskRuns are recorded at a time.
const recorders = 4

// recordTimeout bounds what recording one TaskRun asks the API server for at once.
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

// newRecordsController makes the reconciler of records. TaskRuns are judged from the time on at which their namespace was granted
// signing tokens: those before could not sign.
func (a *addOn) newRecordsController(ctx context.Context, hooks taskRunHooks) *controller.Impl {
	records := reconciler.NewRecords(reconciler.RecordsConfig{
		Client:  a.client,
		Dynamic: a.dynamic,
		Ready:   func() bool { return a.Ready() && a.grants.HasSynced() && a.trust.Ready() && a.sealKey().Usable() },
		Wanted: func(namespace string, created time.Time) bool {
			since, granted := a.since(namespace)
			return a.settings.Get().Backend != signing.BackendNone && a.namespaces.InScope(namespace) && granted && !created.Before(since)
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

// since returns when TaskRuns of a namespace began to be behind the fence, false if they are not: with its grant where steps sign with
// tokens, else with the add-on's own namespace.
func (a *addOn) since(namespace string) (time.Time, bool) {
	if backends.Of(a.settings.Get().Backend).Tokens {
		return a.grants.Since(namespace)
	}
	return a.namespaces.Created(manifests.Namespace)
}

// proof is how the reconcilers know verdicts of the add-on.
func (a *addOn) proof() reconciler.Proof {
	return reconciler.Proof{SealKey: a.sealKey, Recorded: a.recorded}
}

// recorded returns the verdict in a TaskRun's record, by the rules of the namespace's mode.
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

// recordToken asks for a token of the add-on itself that vouches for a record. It is bound to this pod, and no API server accepts it.
func (a *addOn) recordToken(ctx context.Context, digest signing.Digest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	seconds := int64(signing.MinTokenLifetime / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:         []string{signing.RecordAudience(a.settings.Get().AudiencePrefix, digest)},
		ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: a.pod.name, UID: types.UID(a.pod.uid),
		},
	}}
	granted, err := a.client.CoreV1().ServiceAccounts(manifests.Namespace).CreateToken(ctx, manifests.ServiceAccount, request,
		metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return granted.Status.Token, nil
}
