#[test]
fn all_and_some_do_not_go_together_nor_all_and_credentials() {
    let told = |text: &str| {
        let config: crate::Config = toml::from_str(text).unwrap();
        config.check().map_err(|problems| problems.to_string())
    };
    assert_eq!(told("[cors]\norigins = [\"https://a.example\"]\ncredentials = true\n"), Ok(()));
    assert_eq!(told("[cors]\norigins = []\n"), Ok(()));
    assert_eq!(
        told("[cors]\norigins = [\"*\", \"https://a.example\"]\ncredentials = true\n").unwrap_err(),
        "cors.origins has * beside others; leave it, or them, out\n\
         cors.credentials is true, and cors.origins has *, which browsers refuse together; list \
         the origins"
    );
    let unfit = toml::from_str::<crate::Config>("[cors]\norigins = [\"https://a/b\"]\n");
    let unfit = unfit.unwrap_err().to_string();
    assert!(unfit.contains("https://a/b is more than an origin"), "{unfit}");
}
