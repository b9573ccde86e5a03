// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// stuckPods are the pods of one namespace that do not start because of the signer.
type stuckPods struct {
	count      int
	name       string // of the first
	image, why string
}

// waitingPods looks for TaskRuns that hang because their nodes cannot get the signer.
func (l *look) waitingPods(ctx context.Context) {
	if !l.known || !l.listed {
		return // said already
	}
	stuck := map[string]stuckPods{}
	options := metav1.ListOptions{LabelSelector: pipeline.TaskRunLabelKey, FieldSelector: "status.phase=" + string(corev1.PodPending), Limit: podPage}
	for {
		page, err := l.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if IsForbidden(err) { // pods hold more than a monitor should see
			l.note(status.PartAddOn, status.CheckSignerImage, "you may not list pods: whether some wait for the signer's image was not looked at")
			return
		}
		if err != nil {
			l.unreadable(status.PartAddOn, status.CheckSignerImage, "the pods of all namespaces", err)
			return
		}
		for i := range page.Items {
			pod := &page.Items[i]
			if image, why := delivery.Stuck(pod); why != "" && l.inScope(pod.Namespace) {
				s := stuck[pod.Namespace]
				stuck[pod.Namespace] = stuckPods{count: s.count + 1, name: cmp.Or(s.name, pod.Name), image: cmp.Or(s.image, image), why: cmp.Or(s.why, why)}
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	l.stuck(stuck)
}

// stuck names the namespaces, the first with its reason.
func (l *look) stuck(stuck map[string]stuckPods) {
	if len(stuck) == 0 {
		return
	}
	namespaces := slices.Sorted(maps.Keys(stuck))
	first := stuck[namespaces[0]]
	counts := make([]string, len(namespaces))
	for i, namespace := range namespaces {
		counts[i] = fmt.Sprintf("%s (%d)", namespace, stuck[namespace].count)
	}
	l.add(status.Check{
		Part: status.PartAddOn, ID: status.CheckSignerImage, Status: verify.Fail,
		Object:   &status.Object{Kind: "Pod", Namespace: namespaces[0], Name: first.name},
		Expected: "the signer's image " + first.image, Got: first.why,
		Message: "TaskRuns hang, because their pods cannot get the signer: " + fewOf(counts),
		Next: "let the nodes pull the image with the secrets of the pods' service accounts (imagePullSecrets), or from a registry that needs none " +
			"(enable --registry), or leave the namespaces out (enable --namespaces or --namespace-selector)",
	})
}
