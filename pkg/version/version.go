// SPDX-License-Identifier: Apache-2.0

// Package version knows which release of tekton-sign a binary belongs to.
package version

import "runtime/debug"

// release is set by the linker: -X github.com/tekton-sign/kubectl-tekton-sign/pkg/version.release=v1.2.3.
var release = "v0.0.0-dev"

// Info describes a build.
type Info struct {
	Version   string `json:"version"`             // semantic version with a leading v; also the tag of the images
	GoVersion string `json:"goVersion,omitempty"` // toolchain, as runtime/debug names it
	Revision  string `json:"revision,omitempty"`  // commit, where the build recorded one
}

// Get returns the description of the running binary.
func Get() Info {
	info := Info{Version: release}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.GoVersion = build.GoVersion
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			info.Revision = s.Value
		}
	}
	return info
}
