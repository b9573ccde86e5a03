// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// flagPullSecret names a Secret with which nodes pull the images.
const flagPullSecret = "pull-secret"

// imageOptions are the flags of enable that say where the images are and how nodes get them.
type imageOptions struct {
	registry         string
	pullSecrets      []string
	pullSecretsGiven bool // else they stay as they are
}

func (o *imageOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.registry, "registry", manifests.DefaultRegistry, "where the images are")
	f.StringSliceVar(&o.pullSecrets, flagPullSecret, nil,
		"name of a Secret with which nodes pull the images, in the namespaces in scope and in the add-on's; repeatable")
}

func (o *imageOptions) given(f *pflag.FlagSet) { o.pullSecretsGiven = f.Changed(flagPullSecret) }

// keep says what stays as the cluster has it.
func (o *imageOptions) keep(k *enable.Kept) { k.PullSecrets = !o.pullSecretsGiven }

func (o *imageOptions) set(s *settings.Settings) (err error) {
	s.PullSecrets, err = parseEach(flagPullSecret, o.pullSecrets, settings.ParsePullSecret)
	return err
}
