// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
)

// reasonPodAdmissionFailed is why a TaskRun has failed whose pod the Pod Security admission refused (Tekton
// Pipelines, pkg/pod).
const reasonPodAdmissionFailed = "PodAdmissionFailed"

// podRefused reports whether a TaskRun has failed because its pod was not created.
func (s taskRunState) podRefused() bool {
	return s.succeeded.status == string(corev1.ConditionFalse) && !s.hasPod &&
		slices.Contains([]string{v1.TaskRunReasonPodCreationFailed.String(), reasonPodAdmissionFailed}, s.succeeded.reason)
}

// failedLately reports whether the failure of a TaskRun says something of the pods that start now.
func failedLately(taskRun *unstructured.Unstructured, now time.Time) bool {
	text, _, _ := unstructured.NestedString(taskRun.Object, "status", "completionTime")
	completed, err := time.Parse(time.RFC3339, text)
	return err == nil && now.Sub(completed) < failedJustNow
}

// Words in Tekton's message about a pod that was refused: its own before those of the API server, and who refused the
// pod.
var (
	wordsOfTekton = regexp.MustCompile(`^failed to create task run pod "[^"]*": `)
	refuser       = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']*)'|` +
		`admission webhook "([^"]*)" denied the request|(violates PodSecurity)|security context constraint`)
)

// policy returns the words in which somebody's policy has refused a pod, empty if nobody's has: whatever else keeps a
// pod from being created (it is not valid, a quota, a service account that is missing, a webhook that does not
// answer) has nothing to do with the signer, or ends by itself. Pod Security names each container that it does not
// like, and a trial shows whether it likes the signer's.
func (r *Refusals) policy(c condition) string {
	found := refuser.FindStringSubmatch(c.message)
	if found == nil || strings.HasPrefix(found[1], ownPolicies) || strings.HasSuffix(found[2], ownWebhooks) {
		return ""
	}
	if found[3] != "" && !r.isOurs(c.message) {
		return ""
	}
	words := refusedPod.ReplaceAllString(wordsOfTekton.ReplaceAllString(c.message, ""), "")
	if at := strings.LastIndex(words, ". Maybe "); at > 0 {
		words = words[:at] // Tekton's guess at what is wrong
	}
	return words
}

// How the names of our own policies begin, and those of our webhooks end.
const (
	ownPolicies = "tekton-sign"
	ownWebhooks = ".tekton-sign.dev"
)

// isOurs reports whether words name something of what the add-on puts into pods.
func (r *Refusals) isOurs(words string) bool {
	return slices.ContainsFunc([]string{r.Image, delivery.Volume, `"` + delivery.InitContainer + `"`},
		func(name string) bool { return strings.Contains(words, name) })
}
