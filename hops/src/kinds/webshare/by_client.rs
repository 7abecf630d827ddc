//! Sessions and countries that clients choose.

use std::num::NonZeroU64;

use super::{
    login_for,
    username::{ExitWish, Session},
};
use crate::{
    Country, InvalidPreferences, InvalidSetting, Preferences, Reuse, Secret,
    kinds::{
        added::Added,
        gateway::{GatewayLogin, GatewayProtocol},
    },
    preferences,
};

#[derive(Debug)]
pub(super) struct ByClient {
    pub(super) protocol: GatewayProtocol,
    pub(super) username: Secret,
    pub(super) password: Secret,
    pub(super) countries: Vec<Country>,
    pub(super) city: Option<String>,
    pub(super) session: Session,
    pub(super) session_max: NonZeroU64,
}

impl ByClient {
    pub(super) fn login(
        &self,
        preferences: &Preferences,
    ) -> Result<((GatewayLogin, Reuse), Added), InvalidPreferences> {
        // All parts were checked when the hop was built.
        self.wish(preferences, |wish| {
            let login = login_for(wish, &self.username, &self.password, self.protocol)?;
            Ok::<_, InvalidSetting>((login, wish.added(preferences)))
        })?
        .map_err(|_| InvalidPreferences::Unknown)
    }

    /// Calls `then` with the exit that a client with these preferences wishes for.
    pub(super) fn wish<T>(
        &self,
        preferences: &Preferences,
        then: impl FnOnce(&ExitWish<'_>) -> T,
    ) -> Result<T, InvalidPreferences> {
        // On plans with a fixed list a session is a place in the list, counted from 1. A greater number is answered
        // with 407.
        let session = match (&preferences.session, self.session) {
            (Some(name), _) => {
                let number = preferences::stable_number(name) % self.session_max.get();
                Session::Number(number + 1)
            }
            // The username is sent as it is written, so there is no place in it for a country alone.
            (None, Session::AsWritten) => return Err(InvalidPreferences::CountryAlone),
            (None, session) => session,
        };
        let country = preferences.country.map(|country| [country]);
        let countries = country.as_ref().map_or(self.countries.as_slice(), |country| country);
        Ok(then(&ExitWish { countries, city: self.city.as_deref(), session }))
    }
}
