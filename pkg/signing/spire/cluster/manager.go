// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// ManagerKind is the kind of the objects from which spire-controller-manager makes entries.
func ManagerKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "spire.spiffe.io", Version: "v1alpha1", Kind: "ClusterSPIFFEID"}
}

func managerResource() schema.GroupVersionResource {
	return ManagerKind().GroupVersion().WithResource("clusterspiffeids")
}

// Names of the two objects.
const (
	taskRunsID = "tekton-sign-taskruns"
	addOnID    = "tekton-sign-controller"
)

// ManagerObjects returns the objects from which spire-controller-manager registers the pods of TaskRuns in the
// namespaces, and those of the add-on. wanted is false if the settings do without.
func ManagerObjects(
	s settings.Settings, namespaces *metav1.LabelSelector,
) (objects []runtime.Object, wanted bool, err error) {
	selector, err := runtime.DefaultUnstructuredConverter.ToUnstructured(namespaces)
	if err != nil {
		return nil, false, fmt.Errorf("the namespaces of the settings: %w", err)
	}
	objects = []runtime.Object{
		managerObject(addOnID, s.SPIRE.Class, addOnSpec()),
		managerObject(taskRunsID, s.SPIRE.Class, taskRunsSpec(selector)),
	}
	return objects, managed(s), nil
}

// managed reports whether spire-controller-manager registers TaskRuns.
func managed(s settings.Settings) bool {
	return s.Backend == signing.BackendSPIRE && s.SPIRE.Entries == settings.EntriesManager
}

// hint marks the entries, and what agents issue by them.
const hint = "tekton-sign"

func managerObject(name, class string, spec map[string]any) *unstructured.Unstructured {
	spec["hint"] = hint
	if class != "" {
		spec["className"] = class
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(ManagerKind())
	u.SetName(name)
	return u
}

// addOnSpec registers the add-on. It needs no rights in SPIRE: it only reads the authorities.
func addOnSpec() map[string]any {
	is := func(label, value string) map[string]any {
		return map[string]any{"matchLabels": map[string]any{label: value}}
	}
	return map[string]any{
		"spiffeIDTemplate":  "spiffe://{{ .TrustDomain }}/tekton-sign/controller",
		"namespaceSelector": is(corev1.LabelMetadataName, settings.Namespace),
		"podSelector":       is("app.kubernetes.io/name", "controller"),
	}
}

// taskRunsSpec registers the pods of TaskRuns, each with the selectors of its own pod and of its own TaskRun: agents
// check that the TaskRun owns the pod, so labels alone give no identity. Tekton admits no TaskRun whose name is too
// long for a label.
func taskRunsSpec(namespaces map[string]any) map[string]any {
	label := func(name string) string { return fmt.Sprintf("{{ index .PodMeta.Labels %q }}", name) }
	has := func(name string) any { return map[string]any{"key": name, "operator": "Exists"} }
	const namespace = "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}"
	return map[string]any{
		"spiffeIDTemplate":          namespace + "/taskrun/" + label(pipeline.TaskRunLabelKey),
		"workloadSelectorTemplates": []any{"k8s:pod-owner-uid:TaskRun:" + label(pipeline.TaskRunUIDLabelKey)},
		"namespaceSelector":         namespaces,
		"podSelector": map[string]any{
			"matchExpressions": []any{has(pipeline.TaskRunLabelKey), has(pipeline.TaskRunUIDLabelKey)},
		},
		"ttl": "1h0m0s",
	}
}

// CheckManager checks that spire-controller-manager can register TaskRuns, if the settings leave that to it.
func CheckManager(ctx context.Context, objects dynamic.Interface, s settings.Settings) cluster.Finding {
	const fine = "spire-controller-manager registers TaskRuns, best effort: it starts when their pods run"
	if !managed(s) {
		return cluster.Finding{Level: cluster.Fine, Message: "spire-controller-manager is not asked to register TaskRuns"}
	}
	list, err := objects.Resource(managerResource()).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return cluster.Finding{
			Message:  "the cluster has no ClusterSPIFFEIDs: nobody registers TaskRuns, and no step gets an SVID",
			Expected: "the CRD clusterspiffeids." + ManagerKind().Group, Got: "none",
			Next: "install spire-controller-manager, for example with SPIRE's Helm chart, or let the add-on register " +
				"TaskRuns: kubectl tekton-sign enable spire --spire-entries api",
		}
	case err != nil:
		return unread("the ClusterSPIFFEIDs", err)
	}
	for i := range list.Items {
		if u := &list.Items[i]; u.GetName() == taskRunsID {
			return checkStats(u, cluster.Finding{Level: cluster.Fine, Message: fine})
		}
	}
	return cluster.Finding{Level: cluster.Fine, Message: fine} // whether it is there is checked elsewhere
}

// checkStats reads what spire-controller-manager reports about the object.
func checkStats(u *unstructured.Unstructured, fine cluster.Finding) cluster.Finding {
	stats, found, _ := unstructured.NestedMap(u.Object, "status", "stats")
	if !found {
		return cluster.Finding{
			Level: cluster.Warning, Message: "spire-controller-manager has not processed ClusterSPIFFEID " + taskRunsID,
			Next: "check its log, and name its class (className in its configuration): kubectl tekton-sign enable spire " +
				"--spire-entries controller-manager --spire-class NAME",
		}
	}
	for _, failed := range []string{"podEntryRenderFailures", "entryFailures"} {
		if n, _ := stats[failed].(int64); n > 0 {
			return cluster.Finding{
				Level: cluster.Warning, Expected: "0", Got: fmt.Sprint(n), Next: "check the log of spire-controller-manager",
				Message: "spire-controller-manager could not register pods of TaskRuns: " + failed + " of ClusterSPIFFEID " +
					taskRunsID,
			}
		}
	}
	return fine
}
