//! The steps of each sampler, worked out by hand, and what holds for all of them.

use super::*;
use crate::manifest::video::Training;
use proptest::prelude::*;

fn animatediff() -> Schedule {
    Schedule::new(Training::default())
}

/// β = 0.5 and 0.75: ᾱ = 0.5 and 0.125.
fn two_timesteps() -> Schedule {
    Schedule::new(Training {
        timesteps: 2,
        first_beta: 0.5,
        last_beta: 0.75,
        ..Training::default()
    })
}

fn timesteps(sampler: Sampler, init: Init) -> Vec<usize> {
    let plan = animatediff().plan(sampler, init).unwrap();
    plan.iter().map(|step| step.timestep).collect()
}

fn ddim(steps: usize) -> Sampler {
    Sampler::Ddim { steps, eta: 0.0 }
}

/// One step of two timesteps is at 1 with ᾱ = 0.125, and ends at clean latents:
/// (x - √0.875 e) / √0.125 = (x - √7/√8 e) · √8 = √8 x - √7 e.
#[test]
fn a_single_step_ends_at_clean_latents() {
    let step = two_timesteps().plan(ddim(1), Init::Reference).unwrap()[0];
    assert_eq!((step.timestep, step.next_of_clean, step.next_of_noise), (1, 1.0, 0.0));
    let mut x = [1.0];
    step.take(&mut x, &[1.0], &[]);
    assert!((f64::from(x[0]) - (8.0_f64.sqrt() - 7.0_f64.sqrt())).abs() < 1e-6);
}

#[test]
fn ddim_leads_and_sdedit_keeps_the_tail() {
    assert_eq!(timesteps(ddim(4), Init::Reference), [751, 501, 251, 1]);
    assert_eq!(timesteps(ddim(4), Init::Sdedit { strength: 0.7 }), [251, 1]);
    assert!(timesteps(ddim(4), Init::Sdedit { strength: 0.0 }).is_empty());
    assert_eq!(timesteps(ddim(25), Init::Reference)[..2], [961, 921]);
}

#[test]
fn lcm_thins_its_grid_and_sdedit_shortens_it() {
    let lcm = Sampler::Lcm { steps: 4 };
    assert_eq!(timesteps(lcm, Init::Reference), [999, 759, 499, 259]);
    // Half of the grid ends at 499; a quarter of 25 is 6.25: places 0, 6, 12 and 18.
    assert_eq!(timesteps(lcm, Init::Sdedit { strength: 0.5 }), [499, 379, 259, 139]);
    let plan = animatediff().plan(lcm, Init::Reference).unwrap();
    assert!(plan[..3].iter().all(|step| step.noise_sd > 0.0));
    assert_eq!((plan[3].noise_sd, plan[3].next_of_clean), (0.0, 1.0));
}

#[test]
fn an_impossible_plan_is_refused_with_its_value() {
    let schedule = animatediff();
    let message = |sampler, init| schedule.plan(sampler, init).unwrap_err().to_string();
    for steps in [0, 1000] {
        assert!(message(ddim(steps), Init::Reference).contains("1 to 999"));
    }
    assert!(schedule.plan(ddim(999), Init::Reference).is_ok());
    assert!(message(Sampler::Lcm { steps: 51 }, Init::Reference).contains("1 to 50"));
    let strong = message(ddim(25), Init::Sdedit { strength: 1.5 });
    assert!(strong.contains("`strength` must be 0 to 1, got 1.5"), "{strong}");
    let noisy = message(Sampler::Ddim { steps: 5, eta: f64::NAN }, Init::Reference);
    assert!(noisy.contains("`eta` must be 0 to 1, got NaN"), "{noisy}");
}

proptest! {
    /// A network that knows the noise leads DDIM back along the line from clean latents to
    /// noise, x = √ᾱ x0 + √(1-ᾱ) z, and ends at x0, from whichever strength it starts.
    #[test]
    fn implicit_steps_stay_on_the_line_from_noise_to_clean_latents(
        steps in 1_usize..200,
        strength in 0.0_f64..=1.0,
        x0 in -3.0_f32..3.0,
        z in -3.0_f32..3.0,
    ) {
        let schedule = animatediff();
        let plan = schedule.plan(ddim(steps), Init::Sdedit { strength }).unwrap();
        let mut x = [x0];
        if let Some(first) = plan.first() {
            schedule.add_noise(&mut x, &[z], first.timestep);
        }
        for (k, step) in plan.iter().enumerate() {
            let mut clean = [0.0];
            step.clean(&x, &[z], &mut clean);
            prop_assert!((clean[0] - x0).abs() < 1e-3, "{} {x0}", clean[0]);
            step.take(&mut x, &[z], &[]);
            let mut expected = [x0];
            if k + 1 < plan.len() {
                schedule.add_noise(&mut expected, &[z], plan[k + 1].timestep);
                prop_assert!((x[0] - expected[0]).abs() < 1e-3, "{x:?} {expected:?}");
            }
        }
        prop_assert!((x[0] - x0).abs() < 1e-3, "{x:?} {x0}");
    }

    /// With noise or without, a step never leaves more or less variance than its timestep
    /// has: next_of_noise² + noise_sd² = 1 - ᾱ of the next.
    #[test]
    fn drawn_and_predicted_noise_add_up(steps in 1_usize..200, eta in 0.0_f64..=1.0) {
        let plan = animatediff().plan(Sampler::Ddim { steps, eta }, Init::Reference);
        for step in plan.unwrap() {
            let noise = step.next_of_noise.powi(2) + step.noise_sd.powi(2);
            prop_assert!((noise + step.next_of_clean.powi(2) - 1.0).abs() < 1e-5);
        }
    }
}
