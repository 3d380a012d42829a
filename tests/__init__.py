"""The tests lie as the packages do: what tests `deploy/scoring` is in `tests/deploy/scoring`, and so on.

end_to_end/  a user's whole way in processes of its own: README, set-up, wheel, Prefect server and browser
parts/       what tests of several folders are built from: plants, backbones, image files, episodes, a browser's page
checkout.py  where the checkout lies and what it holds; requirements.py what it declares to need

What only one folder uses stands in it beside its tests, its fixtures in its conftest.py.
"""
