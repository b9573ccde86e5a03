// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// TestNightlySPIREIdentity tries who else gets the SVID of a TaskRun that runs, by the policies.
func TestNightlySPIREIdentity(t *testing.T) {
	for _, policies := range []string{"none", "standard", "strict"} {
		t.Run(policies, func(t *testing.T) {
			s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
			s.enableSPIRE(t, "--policies", policies)
			s.testIdentities(t)
		})
	}
}

// testIdentities asks in other pods. At every level, no pod in scope may name a TaskRun as its owner (P10).
func (s *spireSuite) testIdentities(t *testing.T) {
	ns, other := s.scope(t, false), s.namespace(t, false)
	victim := s.start(t, ns, emitting("victim", "x", "; sleep 90", 1))
	victim = s.watchUntil(t, victim, "runs", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 1 && tr.Status.Steps[0].Running != nil
	})
	s.awaitEntry(t, victim)
	id := "spiffe://lab.test/ns/" + ns + "/taskrun/victim"
	own := s.askInStep(t, ns)
	t.Logf("a step asks itself: %s", own)
	if !strings.Contains(own, "/taskrun/asks") || strings.Contains(own, id) {
		t.Errorf("expected a step to get its own TaskRun's SVID and no other, got %s", own)
	}
	for _, tc := range []struct {
		name    string
		pod     *corev1.Pod
		refused bool
	}{
		{name: "plain pod", pod: s.asking(t, ns)},
		{name: "pod that claims the TaskRun as its owner", pod: owned(s.asking(t, ns), victim), refused: true},
		{name: "that with another account", pod: withAccount(t, s, owned(s.asking(t, ns), victim)), refused: true},
		{name: "that in a namespace out of scope", pod: owned(s.asking(t, other), victim)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := s.ask(t, tc.pod)
			t.Logf("%s", got)
			if refused := strings.HasPrefix(got, "refused: "); refused != tc.refused {
				t.Errorf("refused: %t, got %s", refused, got)
			}
			if strings.Contains(got, id) {
				t.Errorf("expected no SVID of the TaskRun, got %s", got)
			}
		})
	}
}

// askScript asks the agent whose socket is in a folder for 20 seconds at most.
func askScript(folder string) string {
	return fmt.Sprintf(`for n in $(seq 1 40); do
  /agent%s api fetch x509 -socketPath %s/%s > /tmp/out 2>&1 && break
  sleep 0.5
done
cat /tmp/out`, spire.AgentPath, folder, spire.Socket)
}

func (s *spireSuite) agentImage(t *testing.T) corev1.Volume {
	t.Helper()
	agent, err := s.kube.AppsV1().DaemonSets(spire.Namespace).Get(t.Context(), "spire-agent", metav1.GetOptions{})
	must(t, err)
	return corev1.Volume{Name: "agent", VolumeSource: corev1.VolumeSource{
		Image: &corev1.ImageVolumeSource{Reference: agent.Spec.Template.Spec.Containers[0].Image},
	}}
}

// asking returns a pod that asks for an SVID.
func (s *spireSuite) asking(t *testing.T, ns string) *corev1.Pod {
	t.Helper()
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, GenerateName: "asks-"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "asks", Image: busybox, Command: []string{"sh", "-c", askScript("/spiffe")},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "agent", MountPath: "/agent"}, {Name: "spiffe", MountPath: "/spiffe", ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{s.agentImage(t), {Name: "spiffe", VolumeSource: corev1.VolumeSource{
				CSI: &corev1.CSIVolumeSource{Driver: spire.Driver, ReadOnly: &yes},
			}}},
		},
	}
}

func owned(pod *corev1.Pod, tr *pipelinev1.TaskRun) *corev1.Pod {
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: tr.Name, UID: tr.UID, Controller: &yes,
	}}
	return pod
}

func withAccount(t *testing.T, s *spireSuite, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	s.mustKubectl(t, "create", "serviceaccount", "another", "-n", pod.Namespace)
	pod.Spec.ServiceAccountName = "another"
	return pod
}

// ask runs a pod and returns what it got, or why it was refused.
func (s *spireSuite) ask(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	made, err := s.kube.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		return "refused: " + err.Error()
	}
	gone := false
	s.eventually(t, "pod "+made.Name+" to end", func(ctx context.Context) (bool, error) {
		list, err := s.kube.CoreV1().Pods(pod.Namespace).List(ctx,
			metav1.ListOptions{FieldSelector: "metadata.name=" + made.Name})
		if err != nil || len(list.Items) == 0 {
			gone = err == nil
			return gone, err
		}
		phase := list.Items[0].Status.Phase
		return phase == corev1.PodSucceeded || phase == corev1.PodFailed, nil
	})
	if gone {
		return "deleted by the garbage collector"
	}
	return s.mustKubectl(t, "logs", "-n", pod.Namespace, made.Name)
}

// askInStep runs a TaskRun whose step asks the agent by the signer's socket, and returns what it got.
func (s *spireSuite) askInStep(t *testing.T, ns string) string {
	t.Helper()
	tr := emitting("asks", "x", "; "+askScript("/tekton/sign-spire"), 1)
	tr.Spec.TaskSpec.Volumes = []corev1.Volume{s.agentImage(t)}
	tr.Spec.TaskSpec.Steps[0].VolumeMounts = []corev1.VolumeMount{{Name: "agent", MountPath: "/agent"}}
	tr = s.finish(t, ns, tr)
	wantSucceeded(t, tr)
	return s.mustKubectl(t, "logs", "-n", ns, tr.Status.PodName, "--all-containers")
}
