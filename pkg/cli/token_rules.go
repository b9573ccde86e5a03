// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// tokenRules define which tokens are signing tokens.
type tokenRules struct {
	verify.Tokens
	unread error       // why the cluster's settings could not be read, if they were needed
	live   enable.Live // the cluster's settings, if they were read
}

// tokenFlags are the flags that define signing tokens. Without a flag the cluster's setting counts, then the default.
type tokenFlags struct {
	audience string
	lifetime time.Duration
}

func (o *tokenFlags) addAudience(f *pflag.FlagSet) {
	f.StringVar(&o.audience, "audience", "",
		"first part of the audience of signing tokens (default: the cluster's setting, offline "+
			verify.DefaultTokens().Audience+")")
}

func (o *tokenFlags) addLifetime(f *pflag.FlagSet) {
	f.DurationVar(&o.lifetime, "token-lifetime", 0, fmt.Sprintf(
		"longest lifetime of a signing token, 10m to 1h (default: the cluster's setting, offline %s)",
		verify.DefaultTokens().Lifetime))
}

// completeAudience offers the prefix that enable sets by default.
var completeAudience = cobra.FixedCompletions([]string{verify.DefaultTokens().Audience},
	cobra.ShellCompDirectiveNoFileComp)

func (o *tokenFlags) check() error {
	if o.audience != "" {
		if err := settings.CheckAudience(o.audience); err != nil {
			return fmt.Errorf("--audience: %w", err)
		}
	}
	if o.lifetime != 0 {
		if err := signing.CheckLifetime(o.lifetime); err != nil {
			return fmt.Errorf("--token-lifetime: %w", err)
		}
	}
	return nil
}

// rules returns the cluster's rules, or the defaults if kube is nil. Flags override them. If the settings are absent or
// forbidden, the defaults apply: then the cluster's own tokens may be refused, but no other token is accepted.
func (o *tokenFlags) rules(ctx context.Context, kube kubeclient.Interface) (tokenRules, error) {
	s := settings.Default()
	var live enable.Live
	var unread error
	if kube != nil && (o.audience == "" || o.lifetime == 0) {
		read, err := enable.ReadLive(ctx, kube)
		switch {
		case err == nil:
			live, s = read, read.Settings
		case kubeclient.IsClusterError(err) && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
			return tokenRules{}, explainCluster(err)
		default:
			unread = err
		}
	}
	tokens := s.Tokens
	tokens.Audience, tokens.Lifetime = cmp.Or(o.audience, tokens.Audience), cmp.Or(o.lifetime, tokens.Lifetime)
	return tokenRules{Tokens: tokens, unread: unread, live: live}, nil
}

// isAboutTokens reports whether a TaskRun or an attempt failed because of a token's audience or lifetime.
func isAboutTokens(r *verify.Result) bool {
	return r.Verdict == verify.Failed && r.Reason == string(verify.CheckToken)
}
