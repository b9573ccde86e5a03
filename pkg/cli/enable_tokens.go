// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// tokenOptions are the flags of enable that say what evidence looks like and what its tokens prove.
type tokenOptions struct {
	format        string
	binding       string
	bindingGiven  bool // else its default depends on the format
	audience      string
	audienceGiven bool // else the prefix stays as it is
	lifetime      time.Duration
}

func (o *tokenOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.format, "format", string(signing.FormatV2),
		"format of the evidence: v2, or v1, which signs each result and is compatible with Tekton's own signing")
	f.StringVar(&o.binding, "binding", string(signing.BindingPayload),
		"what the token vouches for: payload (the results themselves), key (a key that signs them; default of v1), "+
			"audience (nothing: whoever reads the token can sign again)")
	f.StringVar(&o.audience, "audience", signing.AudiencePrefix, "first part of the audience of signing tokens")
	f.DurationVar(&o.lifetime, "token-lifetime", signing.DefaultTokenLifetime, "how long a signing token is valid: 10m to 1h")
}

// given notes which of the flags were given.
func (o *tokenOptions) given(f *pflag.FlagSet) {
	o.bindingGiven, o.audienceGiven = f.Changed("binding"), f.Changed("audience")
}

// set writes into the settings what the flags say.
func (o *tokenOptions) set(s *settings.Settings) (err error) {
	if s.Format, err = signing.ParseFormat(o.format); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	s.Binding = signing.DefaultBinding(s.Format)
	if o.bindingGiven {
		if s.Binding, err = signing.ParseBinding(o.binding); err != nil {
			return fmt.Errorf("--binding: %w", err)
		}
	}
	if err := signing.CheckBinding(s.Format, s.Binding); err != nil {
		return fmt.Errorf("--format, --binding: %w", err)
	}
	if err := settings.CheckAudiencePrefix(o.audience); err != nil {
		return fmt.Errorf("--audience: %w", err)
	}
	if err := signing.CheckTokenLifetime(o.lifetime); err != nil {
		return fmt.Errorf("--token-lifetime: %w", err)
	}
	s.AudiencePrefix, s.TokenLifetime = o.audience, o.lifetime
	return nil
}

// completeWords offers the values that a flag may have.
func completeWords[T ~string](cmd *cobra.Command, flag string, words ...T) {
	offer := make([]string, len(words))
	for i, w := range words {
		offer[i] = string(w)
	}
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(offer, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist
	}
}
