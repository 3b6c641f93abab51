"""What stands at the edge of a question: what is left behind, near misses, corners."""

import numpy as np
import pytest
import torch

from autograder.questions.check import compile_exam
from tests.autograder.questions.test_checks import CHECKS, sit

SEEDS = 40
BY_NAME = {check.name: check for check in CHECKS}


def exam_of(name, seed):
    return compile_exam(BY_NAME[name], None if seed is None else np.random.default_rng(seed))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_probabilities_have_no_unlimited_tail(check):
    drawn = (check.hidden_cases(np.random.default_rng(seed)) for seed in range(SEEDS))
    for cases in (check.public_cases(), *drawn):
        for case in cases:
            for name in ("log_probs", "old_log_probs"):
                if name in case and check.name != "ppo_update":
                    assert case[name].min() > -6.0
            for name in ("logits", "old_logits"):
                if name in case:
                    assert np.abs(case[name]).max() <= 2.0


def test_what_stays_behind_in_an_argument_is_seen():
    def piling_up(theta, states, actions, rewards, gamma):
        theta.requires_grad_()
        weights = torch.tensor([gamma**t for t in range(len(rewards))])
        log_probs = torch.log_softmax(theta, -1)[states, actions]
        ((weights * rewards).sum() * log_probs.sum()).backward()
        return theta.grad

    verdict = sit(exam_of("reinforce_1", 0), piling_up)
    assert verdict.mistake == "gradients pile up in the caller's theta"

    calls = []

    def counts(rewards, gamma):
        calls.append(1)
        return BY_NAME["returns_to_go"].reference(rewards, gamma) + 0.1 * (len(calls) % 2 == 0)

    verdict = sit(exam_of("returns_to_go", None), counts)
    assert verdict.outcome == "wrong"
    assert "when it is called again with the same arguments" in verdict.sentence


def test_a_list_of_episodes_is_said_by_the_name_of_the_callback():
    def all_at_once(theta, sample_episodes, estimate_gradient, learning_rate, iterations):
        for _ in range(iterations):
            theta = theta + learning_rate * estimate_gradient(theta, sample_episodes(theta))
        return theta

    verdict = sit(exam_of("reinforce", None), all_at_once)
    assert "estimate_gradient was given a list of episodes: call it for each" in verdict.sentence


def test_theta_may_be_an_array_or_a_list():
    def in_numpy(theta, sample_episodes, estimate_gradient, learning_rate, iterations):
        values = theta.numpy().copy()
        for _ in range(iterations):
            gradients = [np.asarray(estimate_gradient(values, e)) for e in sample_episodes(values)]
            values = values + learning_rate * np.mean(gradients, axis=0)
        return values.tolist()

    for seed in range(5):
        assert sit(exam_of("reinforce", seed), in_numpy).outcome == "right"


def test_an_argument_is_left_as_it_came_in_its_graph_too():
    def detaches(log_probs, returns, values, gamma):
        values.detach_()
        return BY_NAME["baseline_loss"].reference(log_probs, returns, values, gamma)

    def leaves_a_mark(theta, states, actions, rewards, gamma):
        theta.requires_grad_()
        return BY_NAME["reinforce_1"].reference(theta, states, actions, rewards, gamma)

    for function, name in ((detaches, "baseline_loss"), (leaves_a_mark, "reinforce_1")):
        verdict = sit(exam_of(name, 0), function)
        assert verdict.outcome == "wrong"
        assert "changes one of its arguments" in verdict.sentence


def test_what_only_the_second_call_raises_is_said_of_the_second_call():
    def once(mean_kl, theta, vector, damping):
        if theta.grad is not None:
            raise RuntimeError("not this one")
        theta.grad = torch.zeros_like(theta)
        return BY_NAME["fisher_vector_product"].reference(mean_kl, theta, vector, damping)

    verdict = sit(exam_of("fisher_vector_product", None), once)
    assert "not this one" not in verdict.sentence
    assert "changes one of its arguments" in verdict.sentence


def test_a_graph_is_not_called_a_changed_argument():
    def first_order(mean_kl, theta, vector, damping):
        point = theta.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(mean_kl(point), point, create_graph=True)
        return gradient * vector + damping * vector

    verdict = sit(exam_of("fisher_vector_product", None), first_order)
    assert verdict.mistake == "only one derivative"
    assert verdict.sentence.endswith("What comes back also hangs on a graph: detach it.")
    assert "argument" not in verdict.sentence


@pytest.mark.parametrize("wrong", ["no search", "tries has no effect", "half as much again"])
def test_line_search_is_told_what_was_done(wrong):
    def line_search(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
        if wrong == "no search":
            return theta + step
        for i in range(10 if wrong == "half as much again" else 100):
            new = theta + shrink**i * step
            most = 1.5 * delta if wrong == "half as much again" else delta
            if kl(new) <= most and surrogate(new) > surrogate(theta):
                return new
            if wrong == "half as much again" and i + 1 == tries:
                break
        return theta

    assert sit(exam_of("line_search", None), line_search).mistake == wrong
