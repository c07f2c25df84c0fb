//! A stay of this process in a group: in, and back to where it came from.

use crate::{
    Error, ErrorKind, Freeze, FreezeState, Group, GroupName, GroupOps, HomeOps, Operation, Pid,
    Result,
};

/// The calling process in a group; dropping this moves it back to the groups that it came from.
///
/// All its threads move with it, and whatever it starts meanwhile is born a member and stays one. A
/// group that holds the caller is not killed, so go back before ending it. A fork of the process is a
/// member, too, and nothing of this in the fork does anything.
///
/// ```
/// use backend_fake::Fake;
/// use containment_core::{CgroupOps, ControllerSet, Entered, Group};
///
/// let fake = Fake::new();
/// let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// let inside: Entered = group.enter()?;
/// assert_eq!(group.members()?.len(), 1);
/// drop(inside);
/// assert!(group.members()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping this moves the process back at once"]
pub struct Entered {
    home: Box<dyn HomeOps>,
    group: GroupName,
    owner: Pid,
    away: bool,
}

impl Group {
    /// Moves the calling process into the group, until the answer is dropped.
    ///
    /// ```
    /// # use backend_fake::Fake;
    /// # use containment_core::{CgroupOps, ControllerSet, Group, Pid};
    /// # let fake = Fake::new();
    /// # let group = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// let inside = group.enter()?;
    /// assert!(group.members()?.iter().any(|member| member.pid == Pid::current()));
    /// inside.leave()?;
    /// assert!(group.members()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where processes cannot be moved in,
    /// [`Frozen`](ErrorKind::Frozen) rather than to stand still in there, [`Gone`](ErrorKind::Gone)
    /// when the group was removed meanwhile, or the one that holds us.
    pub fn enter(&self) -> Result<Entered> {
        enter(self.ops())
    }
}

fn enter(group: &dyn GroupOps) -> Result<Entered> {
    let (home, name, owner) = (group.home()?, &group.id().name, Pid::current());
    let freezes = group.capabilities().freeze != Freeze::None;
    if freezes && group.frozen()? != FreezeState::Thawed {
        return Err(Error::new(ErrorKind::Frozen, Operation::Attach)
            .with_group(name)
            .advise("thaw it first"));
    }
    group.attach(owner)?;
    Ok(Entered { home, group: name.clone(), owner, away: true })
}

impl Entered {
    /// Moves the process back, and says so when that fails: then it stays in the group.
    ///
    /// # Errors
    /// [`NotOwner`](ErrorKind::NotOwner) in a fork of the process that entered;
    /// [`Gone`](ErrorKind::Gone) when there is nowhere to go back to.
    pub fn leave(mut self) -> Result<()> {
        self.away = false;
        if self.owner != Pid::current() {
            return Err(Error::new(ErrorKind::NotOwner, Operation::Attach).with_group(&self.group));
        }
        self.home.take_back(self.owner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !self.away || self.owner != Pid::current() {
            return;
        }
        if let Err(error) = self.home.take_back(self.owner) {
            tracing::warn!(
                group = %self.group,
                %error,
                remedy = error.remedy(),
                "this process could not be moved back; it stays in the group"
            );
        }
    }
}
