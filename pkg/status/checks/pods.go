// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// podPage is how many pods one answer of the API server may hold.
const podPage = 250

// stuckPods are the pods of one namespace that do not start because of the signer.
type stuckPods struct {
	count      int
	name       string // of the first
	image, why string
}

// checkPods checks whether TaskRuns hang because their nodes cannot get the signer.
func checkPods(ctx context.Context, c *Cluster) []status.Check {
	if !c.Known() || !c.Listed() {
		return nil // other checks report it
	}
	stuck, err := c.stuckPods(ctx)
	switch {
	case enable.IsForbidden(err): // pods hold more than a monitor should see
		return one(note(status.PartAddOn, status.CheckSignerImage,
			"you may not list pods: whether some wait for the signer's image was not looked at"))
	case err != nil:
		return one(Unreadable(status.PartAddOn, status.CheckSignerImage, "the pods of all namespaces", err))
	case len(stuck) == 0:
		return nil
	}
	return one(reportStuck(stuck))
}

// stuckPods finds the pods of TaskRuns in scope that wait for the signer, by namespace.
func (c *Cluster) stuckPods(ctx context.Context) (map[string]stuckPods, error) {
	stuck := map[string]stuckPods{}
	options := metav1.ListOptions{
		LabelSelector: pipeline.TaskRunLabelKey, FieldSelector: "status.phase=" + string(corev1.PodPending), Limit: podPage,
	}
	for {
		page, err := c.Clients.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			pod := &page.Items[i]
			if image, why := delivery.Stuck(pod); why != "" && c.InScope(pod.Namespace) {
				s := stuck[pod.Namespace]
				stuck[pod.Namespace] = stuckPods{
					count: s.count + 1, name: cmp.Or(s.name, pod.Name), image: cmp.Or(s.image, image), why: cmp.Or(s.why, why),
				}
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return stuck, nil
		}
	}
}

// reportStuck names the namespaces, and the reason in the first of them.
func reportStuck(stuck map[string]stuckPods) status.Check {
	namespaces := slices.Sorted(maps.Keys(stuck))
	first := stuck[namespaces[0]]
	counts := make([]string, len(namespaces))
	for i, namespace := range namespaces {
		counts[i] = fmt.Sprintf("%s (%d)", namespace, stuck[namespace].count)
	}
	return status.Check{
		Part: status.PartAddOn, ID: status.CheckSignerImage, Status: verify.Fail,
		Object:   &status.Object{Kind: "Pod", Namespace: namespaces[0], Name: first.name},
		Expected: "the signer's image " + first.image, Got: first.why,
		Message: "TaskRuns hang, because their pods cannot get the signer: " + names.Few(counts),
		Next: "let the nodes pull the image with the secrets of the pods' service accounts (imagePullSecrets), " +
			"or from a registry that needs none (enable --registry), " +
			"or leave the namespaces out (enable --namespaces or --namespace-selector)",
	}
}
