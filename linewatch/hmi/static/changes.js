// What a transition of an alarm changed, in words.
import { N_, t } from "/static/texts.js";

export const CHANGES = {
  active: N_("raised"), inactive: N_("over"), acknowledged: N_("acknowledged"), shelved: N_("shelved"),
  unshelved: N_("unshelved"), suppressed: N_("suppressed"), unsuppressed: N_("no longer suppressed"),
};

export const changeName = (change) => t(CHANGES[change] ?? change);
