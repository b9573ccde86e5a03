// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"testing"

	podtemplate "github.com/tektoncd/pipeline/pkg/apis/pipeline/pod"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
)

// noise returns n characters that compression makes no shorter.
func noise(n int) string {
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails
	return base64.RawURLEncoding.EncodeToString(random)[:n]
}

// testUnsigned takes from the signer what it needs. In audit the TaskRun succeeds with its results all the same,
// the log says in one line why it is unsigned, and verify repeats the reason. What happens without the token grant
// is in testDrift.
func testUnsigned(t *testing.T, c *cluster) {
	for _, tc := range []struct {
		name, reason string
		change       func(*pipelinev1.TaskRun)
		results      []string
	}{
		{
			name: "the API server is unreachable", reason: "api-unreachable",
			change: func(tr *pipelinev1.TaskRun) { // the signer knows no authority of this ca.crt
				tr.Spec.PodTemplate = &podtemplate.Template{Volumes: []corev1.Volume{{
					Name: "credentials", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
						Items: []corev1.DownwardAPIVolumeFile{
							{Path: "token", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
							{Path: "ca.crt", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
						},
					}},
				}}}
				tr.Spec.TaskSpec.StepTemplate = &pipelinev1.StepTemplate{VolumeMounts: []corev1.VolumeMount{
					{Name: "credentials", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"},
				}}
			},
			results: []string{"digest", "tags", "image"},
		},
		{
			name: "the pod has no token", reason: "no-credential",
			change: func(tr *pipelinev1.TaskRun) {
				no := false
				tr.Spec.PodTemplate = &podtemplate.Template{AutomountServiceAccountToken: &no}
			},
			results: []string{"digest", "tags", "image"},
		},
		{
			name: "the message is too long", reason: "too-long",
			change: func(tr *pipelinev1.TaskRun) {
				long := noise(2200) // compressed it is no shorter
				tr.Spec.TaskSpec = &pipelinev1.TaskSpec{
					Results: []pipelinev1.TaskResult{{Name: "long"}},
					Steps: []pipelinev1.Step{{
						Name: "talks", Image: "docker.io/library/busybox:1.36",
						Command: []string{"sh", "-c", "printf " + long + " > $(results.long.path)"},
					}},
				}
				// Six more containers make the pod's share of termination messages small.
				for _, name := range []string{"a", "b"} {
					tr.Spec.TaskSpec.Sidecars = append(tr.Spec.TaskSpec.Sidecars, pipelinev1.Sidecar{
						Name: name, Image: "docker.io/library/busybox:1.36", Command: []string{"sleep", "600"},
					})
				}
			},
			results: []string{"long"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := c.namespace(t, true)
			tr := fixture(t, "results")
			tc.change(tr)
			got := c.finish(t, ns, tr)
			wantSucceeded(t, got)
			wantResultNames(t, got, tc.results...)
			wantUnsigned(t, c, got, tc.reason)
			wantCondition(t, got, "False", "TaskRunResultsVerificationFailed")
		})
	}
}
