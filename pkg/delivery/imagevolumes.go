// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

// The oldest versions with image volumes on by default (KEP-4639).
const (
	imageVolumeKubernetes = "1.35.0"
	imageVolumeContainerd = "2.1.0"
	imageVolumeCRIO       = "1.33.0"
)

// LacksImageVolumes returns what prevents pods from using image volumes. It is empty if nothing does.
func LacksImageVolumes(server string, nodes []*corev1.Node) string {
	if !atLeast(server, imageVolumeKubernetes) {
		return fmt.Sprintf("the API server is %s, image volumes need v%s", server, imageVolumeKubernetes)
	}
	linux := 0
	for _, node := range nodes {
		info := node.Status.NodeInfo
		if node.Spec.Unschedulable || info.OperatingSystem == "windows" {
			continue
		}
		linux++
		if !atLeast(info.KubeletVersion, imageVolumeKubernetes) {
			return fmt.Sprintf("the kubelet of node %s is %s, image volumes need v%s",
				node.Name, info.KubeletVersion, imageVolumeKubernetes)
		}
		runtime, runtimeVersion, _ := strings.Cut(info.ContainerRuntimeVersion, "://")
		needed := map[string]string{"containerd": imageVolumeContainerd, "cri-o": imageVolumeCRIO}[runtime]
		if needed == "" || !atLeast(runtimeVersion, needed) {
			return fmt.Sprintf("the runtime of node %s is %s, image volumes need containerd %s or CRI-O %s",
				node.Name, info.ContainerRuntimeVersion, imageVolumeContainerd, imageVolumeCRIO)
		}
	}
	if linux == 0 {
		return "no node takes pods"
	}
	return ""
}

// atLeast compares versions by their numbers. A version that cannot be read counts as too old.
func atLeast(have, needed string) bool {
	v, err := version.ParseGeneric(have)
	return err == nil && v.AtLeast(version.MustParseGeneric(needed))
}
