//! A duplicated workload has as many copies as its queue may have: each is compared with the limit beside those before it.

use super::accounts::Accounts;
use super::draft::Draft;
use super::needs::Needs;
use crate::fleet::Fleet;
use crate::shares::Ask;

impl Accounts {
    /// Takes copies out of a draft that its queue may not have, and says why.
    pub(super) fn cut_copies(&mut self, fleet: &mut Fleet, needs: &Needs<'_>, draft: &mut Draft) {
        let request = needs.request;
        let queue = self.queue(request);
        let mut sum = Ask::default();
        for copy in std::mem::take(&mut draft.added) {
            let more = sum.plus(&self.copy(fleet, request, &copy));
            let left = self.without_spares(&request.id, &more);
            let may = |ask: &Ask| self.shares.may_start(queue, ask, request.preemptible);
            match may(&more).or_else(|why| left.as_ref().map_or(Err(why), may)) {
                Ok(_) => {
                    sum = more;
                    draft.added.push(copy);
                }
                Err(why) => draft.cut(needs, &why),
            }
        }
    }
}
