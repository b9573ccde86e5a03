// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
)

// CSIDriver is the name of the SPIFFE CSI driver, which mounts the socket of SPIRE's agent into a pod.
const CSIDriver = "csi.spiffe.io"

// SocketDir is where the add-on mounts the socket of SPIRE's agent into its own pods.
const SocketDir = "/run/spire"

// StepVolumes returns what the signer of a step needs in its pod: the agent's socket, and the pod's name and
// UID, which are not known before there is a pod.
func StepVolumes() []cluster.Volume {
	field := func(name, path string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{Path: name, FieldRef: &corev1.ObjectFieldSelector{
			APIVersion: "v1", FieldPath: path,
		}}
	}
	return []cluster.Volume{
		socketVolume(workload.SocketDir),
		{Name: "pod", Path: workload.PodDir, Source: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{
				field(workload.PodNameFile, "metadata.name"), field(workload.PodUIDFile, "metadata.uid"),
			},
		}}},
	}
}

// AddOnVolumes returns what the add-on needs in its own pods.
func AddOnVolumes() []cluster.Volume { return []cluster.Volume{socketVolume(SocketDir)} }

func socketVolume(path string) cluster.Volume {
	return cluster.Volume{Name: "spire", Path: path, Source: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: CSIDriver, ReadOnly: new(true)},
	}}
}
